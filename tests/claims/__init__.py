"""What each notebook claims, checked on the numbers that its run at the smoke profile wrote.

One function a notebook; it gets the ``values`` of the results file and asserts. Limits are what the
chapter says, loosened for the small volumes of a smoke run, but a broken method fails them.
"""

from tests.claims import ablations, cases, depth, foundations, own, restoration, rock

CLAIMS = {
    chapter: claim
    for part in (foundations, cases, ablations, restoration, rock, depth, own)
    for chapter, claim in part.CLAIMS.items()
}
