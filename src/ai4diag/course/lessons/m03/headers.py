"""DICOM headers of invented patients, with identifiers in every kind of place: what lesson 3 draws.

They are DICOM JSON (PS3.18, Annex F).
"""

from __future__ import annotations

from typing import Any

import numpy as np

KEPT = {
    "00080060": "Modality",
    "00280010": "Rows",
    "00280011": "Columns",
    "00280030": "PixelSpacing",
    "00200032": "ImagePositionPatient",
    "00200037": "ImageOrientationPatient",
    "00281053": "RescaleSlope",
    "00281052": "RescaleIntercept",
}
"""Elements that are needed, by tag."""
FAMILIES = (
    "ALMEIDA",
    "BERZINS",
    "CIOBANU",
    "DIMITROV",
    "ECHEVARRIA",
    "FALKENBERG",
    "GRAMMATIKOS",
    "HOLMSTROM",
    "JANKAUSKAS",
)
GIVEN = ("AGATHE", "BOGUMIL", "CONCETTA", "DOVILE", "EERIKKI", "FERDINAND", "GHISLAINE", "HALVARD")
PLACES = ("ST ELMO CLINIC", "NORTHERN RADIOLOGY", "HOSPITAL DA SERRA", "KLINIK AM SEE")
RARE = {
    "00101060": "PN",  # patient's mother's birth name
    "00101005": "PN",  # patient's birth name
    "00380300": "LO",  # current patient location
    "00102297": "PN",  # responsible person
    "00101090": "LO",  # medical record locator
    "00321032": "PN",  # requesting physician
    "00102154": "SH",  # patient's telephone numbers
    "00081010": "SH",  # station name
    "00400241": "AE",  # performed station
    "00102180": "SH",  # occupation
    "00101040": "LO",  # patient's address
    "00081070": "PN",  # operators' name
}
"""Elements that lists of identifiers often lack, with their types; some of them are in each header."""


def draw_header(random: np.random.Generator, number: int) -> dict[str, Any]:
    """Draw a header.

    Args:
        random: from which it is drawn.
        number: 0, 1 or 2: which third of the rare elements it has.

    Returns:
        `elements`: DICOM JSON; `identifiers`: the texts that identify, by the kind of place where they stand.
    """
    family, mother, friend, doctor, aunt = random.permutation(FAMILIES)[:5].tolist()
    given, hospital = str(random.choice(GIVEN)), str(random.choice(PLACES))
    patient, accession, archive = (str(random.integers(10**7, 10**8)) for _ in range(3))
    born = f"{random.integers(1930, 2000)}{random.integers(1, 13):02}{random.integers(1, 29):02}"
    study, series = (f"1.2.276.0.{random.integers(10**8, 10**9)}.{end}" for end in (1, 2))
    rare = dict(list(RARE.items())[number::3])
    private = {"00330010": _text("LO", "ARCHIVE OBJECT ATTRIBUTES 1.0"), "00331013": _text("PN", f"{friend}^{given}")}
    elements = {
        **_needed(random),
        "00100010": _text("PN", f"{family}^{given}"),
        "00100020": _text("LO", patient),
        "00100030": _text("DA", born),
        "00080050": _text("SH", accession),
        "00080080": _text("LO", hospital),
        "00204000": _text("LT", f"Asked Dr {doctor.title()} for the earlier scan, will call back."),
        "0020000D": _text("UI", study),
        "0020000E": _text("UI", series),
        "00400275": _sequence({"00400008": _sequence({"00100021": _text("LO", archive)})}),
        "00080030": _text("TM", "023214"),
        "00100040": _text("CS", "F"),
        "00101030": {"vr": "DS", "Value": [float(random.integers(45, 110))]},
        **private,
        **{tag: _text(kind, f"{mother} {place}"[:16]) for place, (tag, kind) in enumerate(rare.items())},
        "00081111": _sequence(
            {"00081155": _text("UI", study), "00331010": _text("LO", aunt), "00330010": private["00330010"]}
        ),
    }
    return {
        "elements": dict(sorted(elements.items())),
        "identifiers": {
            "in the well-known elements (name, number, birth date, accession number, institution)": [
                family,
                patient,
                born,
                accession,
                hospital,
            ],
            "in elements that short lists leave out (mother's name, location, telephone, operator, ...)": [mother],
            "in free text": [doctor],
            "inside sequences": [archive],
            "in private elements, in sequences too": [friend, aunt],
            "in UIDs, which the hospital can look up": [study, series],
        },
    }


def _needed(random: np.random.Generator) -> dict[str, Any]:
    """Return the elements of KEPT."""
    values: dict[str, tuple[str, list[Any]]] = {
        "00080060": ("CS", ["CT"]),
        "00280010": ("US", [int(random.integers(64, 512))]),
        "00280011": ("US", [int(random.integers(64, 512))]),
        "00280030": ("DS", [0.5, 0.5]),
        "00200032": ("DS", [-100.5, -80.0, float(random.integers(-90, 90))]),
        "00200037": ("DS", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        "00281053": ("DS", [1.0]),
        "00281052": ("DS", [-1024.0]),
    }
    return {tag: {"vr": kind, "Value": value} for tag, (kind, value) in values.items()}


def _text(kind: str, value: str) -> dict[str, Any]:
    return {"vr": kind, "Value": [{"Alphabetic": value} if kind == "PN" else value]}


def _sequence(item: dict[str, Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": [item]}
