"""Trained networks at work on volumes of any size: tile by tile, in memory or file to file.

``superres``, ``restoration`` and ``depth`` hold the functions that a reader calls, ``streaming``
what works from file to file; ``tiling`` and ``memory`` are what they share.
"""
