"""Materials and scanners made by seed, with their truth.

``microstructures`` (electrodes, separator, anode), ``silicon_anode`` and its scanner ``nanoct``,
``sandstone`` and ``filled_rubber``.
"""
