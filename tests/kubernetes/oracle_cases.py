"""The oracle itself: it finds each kind of harm that is planted, and none where none was done."""

import re

from case import case
from cluster import Failure
from load import Journal, judge_beside, judge_undisturbed

# What a client writes down that sends four records to one partition and reads them back.
SOUND = [
    *(f"acked {n} 0 {n} 5" for n in range(4)),
    *(f"read {n} 0 {n}" for n in range(4)),
    *(f"stored {n} 0 {n}" for n in range(4)),
]

PLANTED = {
    "lost": [line for line in SOUND if line != "stored 2 0 2"],
    "moved": [line.replace("stored 3 0 3", "stored 3 0 4") for line in SOUND],
    "doubled": [*SOUND, "stored 3 0 4"],
    "turned around": [
        re.sub(r"^(\w+) ([12]) 0 \d", lambda m: f"{m[1]} {m[2]} 0 {3 - int(m[2])}", line)
        for line in SOUND
    ],
    "not read": [line for line in SOUND if line != "read 0 0 0"],
    "errors": [*SOUND, "failed 4 TimeoutException"],
    "nothing was acknowledged": [],
}


@case(30)
def oracle(_world):
    """Planted harm is found, each kind by its name, and an error through Narrows alone, too."""
    judge_undisturbed(Journal("sound", SOUND))
    for kind, lines in PLANTED.items():
        expect(kind, lambda lines=lines: judge_undisturbed(Journal("planted", lines)))
    sound, failed = Journal("sound", SOUND), Journal("failed", PLANTED["errors"])
    judge_beside(failed, failed)
    judge_beside(sound, failed)
    expect("through Narrows alone", lambda: judge_beside(failed, sound))
    broken = "broken consume org.example.LateException: of"
    here, there = (Journal(t, [*SOUND, f"{broken} topic {t}"]) for t in ("here", "there"))
    judge_beside(here, there)
    return f"{len(PLANTED)} kinds of harm"


def expect(words, judged):
    try:
        judged()
    except Failure as failure:
        if words in str(failure):
            return
        raise Failure(f"'{words}' is not what was found: {failure}") from failure
    raise Failure(f"not found: {words}")
