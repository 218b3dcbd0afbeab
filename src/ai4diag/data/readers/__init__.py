"""Formats of volumes: the reader of each file ending.

A reader is a function `read(path) -> Volume` that gives the voxels in the orientation of the file, as
`(channels, i, j, k)`, and raises a DataError that names the file. Checks that all formats share are in
`ai4diag.data.volume`.
"""

READERS = {
    ".nii": "ai4diag.data.readers.nifti:read",
    ".nii.gz": "ai4diag.data.readers.nifti:read",
    ".nrrd": "ai4diag.data.readers.nrrd:read",
    ".nhdr": "ai4diag.data.readers.nrrd:read",
    ".mha": "ai4diag.data.readers.metaimage:read",
    ".mhd": "ai4diag.data.readers.metaimage:read",
    ".dcm": "ai4diag.data.readers.dicom:read",
    "/": "ai4diag.data.readers.dicom:read",
}
"""File ending in small letters (the longest that fits counts), or "/" for a folder, to the function that reads it."""
