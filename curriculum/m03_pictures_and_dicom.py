# ---
# jupyter:
#   ai4diag:
#     id: m03
#     title: Pictures and DICOM
#     badge: Explorer
#     ambitions: [skills]
#     minutes: 90
#     sections:
#       Story: 5
#       From stored numbers to grey: 16
#       Millimetres: 15
#       Which way is up: 15
#       Names in the header: 20
#       Names in the pixels: 11
#       Key points: 3
#       Quiz: 5
#     needs: [m01]
#     objectives:
#       - show a CT in a window that answers the question, from stored numbers by way of Hounsfield units
#       - resample a volume to a spacing within 0.001 mm, and keep it where it lies in the patient
#       - overlay a mask on an image whose axes run another way
#       - find identifiers that are left in a DICOM header, and remove them by keeping only what is needed
#       - refuse to share pixels that may hold a name
#     data: [dicom_deid_phi, msd_hippocampus]
# ---

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pydicom

from ai4diag.course import check, start
from ai4diag.data import grid
from ai4diag.data.readers.dicom import GEOMETRY
from ai4diag.data.volume import Volume, read_volume, write_nifti

warnings.filterwarnings("ignore", module="pydicom")  # the test files break some rules of DICOM on purpose
here = start("m03")
here

# %% [markdown]
# ## Story
#
# **Anna, 71**, takes blood thinners and fell on the stairs. It is two at night; the small hospital has a CT and no
# radiologist. A company wants to offer a service that looks at the CT at once: *may there be a bleed, and on which
# side?* If it says no and is wrong, Anna is sent home with a bleed that grows. If it shows the bleed on the wrong
# side, the surgeon prepares the wrong side. And if Anna's name travels to the company with her picture, without need
# and without a contract, the hospital has broken the law before the service has helped anyone.
#
# None of these three faults needs a bad model. They happen before any model is asked: in how numbers become a picture,
# where the picture lies in the patient, and what else is in the file. In this lesson you learn to get all three right.

# %% [markdown] tags=["trainer"]
# **5 minutes.** Ask before you start: "Who has opened a DICOM file in code? Who has seen an image upside down in a
# paper?" Seat those who have beside those who have not. Everything here needs numpy only; nobody trains a model.
#
# Discussion question for the break: *your company receives a folder from a hospital "fully anonymised". What do you
# look at before anybody opens it?* Good answers name headers, private elements, file names, pixels, free text, the
# spreadsheet that came with it, and who is told when something is found.

# %% [markdown]
# ## From stored numbers to grey
#
# A CT measures how much a tissue weakens X-rays, in **Hounsfield units** (HU): air −1000, fat about −100, water 0,
# brain 25 to 40, fresh blood 50 to 80, bone several hundred and more. The file does not hold HU. It holds whole
# numbers, mostly from 0 upwards, and two elements that say what they mean:
#
# > HU = stored × RescaleSlope + RescaleIntercept
#
# A screen shows perhaps 256 greys, an eye tells some dozens apart, and HU have thousands of values. So somebody chooses
# a **window**: everything at or below *centre − width / 2* is black, everything at or above *centre + width / 2* is
# white, and greys are spread evenly between.
#
# The next cell draws Anna's head as a scanner would write it: 16 DICOM files with her name in each. It is material; you
# need not read it.


# %%
def draw_head(rng):
    """HU of a head, (slices, rows, columns); rows run to the back, columns to the patient's left."""
    z, y, x = np.mgrid[-7.5:8.5, -63.5:64.5, -63.5:64.5]
    place = np.stack([x * 1.6, y * 1.6, z * 6.0])  # mm, DICOM's way: x to the left, y to the back

    def ball(centre, radii):
        return sum(((place[a] - centre[a]) / radii[a]) ** 2 for a in range(3)) < 1

    hu = np.full(z.shape, -1000.0)
    hu[ball((0, 0, 0), (78, 95, 120))] = 0  # skin
    hu[ball((0, 0, 0), (74, 91, 116))] = 900  # skull
    brain = ball((0, 0, 0), (67, 84, 108))
    hu[brain] = 34
    hu[ball((-14, 5, 8), (8, 24, 16)) | ball((14, 5, 8), (6, 20, 14))] = 6  # fluid; pressed together on the left
    hu[brain & ball((52, -5, 5), (20, 42, 24))] = 66  # the bleed
    return hu + rng.normal(0, 4, hu.shape)


def write_series(folder, hu):
    """Write slices as DICOM files, as a scanner would: stored = HU + 1024, and the patient's name in each header."""
    folder.mkdir(exist_ok=True)
    series = pydicom.uid.generate_uid()
    for number, layer in enumerate(np.clip(hu + 1024, 0, 4095).astype(np.uint16)):
        file = pydicom.Dataset()
        file.file_meta = pydicom.dataset.FileMetaDataset()
        file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        file.SOPClassUID, file.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
        file.PatientName, file.PatientID, file.PatientBirthDate = "FERENCZY^ANNA", "H-20417", "19550311"
        file.Modality, file.SeriesInstanceUID = "CT", series
        file.ImagePositionPatient = [-63.5 * 1.6, -63.5 * 1.6, (number - 7.5) * 6.0]
        file.ImageOrientationPatient, file.PixelSpacing, file.SliceThickness = [1, 0, 0, 0, 1, 0], [1.6, 1.6], 6
        file.Rows, file.Columns = layer.shape
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
        file.RescaleSlope, file.RescaleIntercept = 1, -1024
        file.PixelData = layer.tobytes()
        file.save_as(folder / f"{number:02}.dcm", enforce_file_format=True)


series = here.folder / "series"
write_series(series, draw_head(np.random.default_rng(3)))
one = pydicom.dcmread(series / "08.dcm")
print("stored:", one.pixel_array.min(), "to", one.pixel_array.max())
print("slope:", one.RescaleSlope, "  intercept:", one.RescaleIntercept)

# %% [markdown]
# ### Exercise: a window
#
# Define `window(stored, slope, intercept, centre, width)`. `stored` is an array of whole numbers of any shape; the
# result is an array of the same shape with real numbers from 0 (black) to 1 (white). Centre and width are in HU.


# %% tags=["exercise:m03.window"]
def window(stored, slope, intercept, centre, width):
    """Return greys from 0 to 1."""
    # --- solution
    hu = stored * float(slope) + float(intercept)
    return np.clip((hu - (centre - width / 2)) / width, 0, 1)
    # --- learner
    # # first Hounsfield units, then where they lie in the window, then cut off
    # return ...
    # --- end


# %% [markdown]
# Now the same slice three times. Look for the bleed.

# %%
pictures = [
    ("smallest to largest", None),
    ("brain: centre 40, width 80", (40, 80)),
    ("bone: centre 700, width 3200", (700, 3200)),
]
figure, axes = plt.subplots(1, 3, figsize=(11, 4))
for axis, (title, chosen) in zip(axes, pictures, strict=True):
    stored = one.pixel_array
    grey = stored / stored.max() if chosen is None else window(stored, one.RescaleSlope, one.RescaleIntercept, *chosen)
    if grey is not None and grey is not ...:
        axis.imshow(np.asarray(grey, float), cmap="gray", vmin=0, vmax=1)
    axis.set(title=title, xlabel="column", ylabel="row")
figure.tight_layout()

# %% [markdown]
# In the middle picture the bleed is a bright lens on the right of the picture, which is the patient's left (why,
# comes later). In the other two the same numbers are there, and nobody sees them: 32 HU between brain and blood are
# one hundredth of the range of bone. A model that is fed the left picture as 8-bit greys has little left to see: four
# greys of 256, and two when a metal clip takes the white end for itself.
#
# A window belongs to the question. It is chosen in HU, once, for everybody. Scaling each picture "from its smallest
# to its largest value" makes the same tissue look different in each patient: one metal tooth, and the brain is
# darker.
# **MR has no such unit.** Intensities of MR mean nothing by themselves; there each volume is scaled by its own
# distribution, as the pipelines do (`ai4diag plan`, lesson 7).

# %% [markdown] tags=["trainer"]
# **16 minutes**: 6 talk, 7 exercise, 3 looking. Those who finish first put a metal clip (HU 3000) into the slice and
# look at the left picture again.
#
# **Misconception:** "Normalising to 0..1 by minimum and maximum is harmless, networks learn the rest." **Say:** Do it
# with one bright metal voxel in the picture and read the grey of the brain before and after. For CT, the unit is the
# point.
#
# **Misconception:** "PixelData are Hounsfield units." **Say:** Air is about 24 in this file, and −1000 HU. Slope and
# intercept are not decoration; PET and some MR have another slope in every slice.
#
# If somebody knows the standard: the rule here is DICOM's `LINEAR_EXACT`. Its older `LINEAR` takes centre − 0.5 and
# width − 1; in a window 80 wide that is a difference of less than one grey in a hundred, and the check says no to it.

# %% [markdown]
# ## Millimetres
#
# A voxel is not a cube. Anna's slices are 6 mm thick and have pixels of 1.6 mm. Whoever counts voxels as if they were
# cubes measures nonsense. `read_volume` reads the folder, orders slices *by where they lie*, converts to HU, and
# gives an **affine**: a 4 × 4 matrix that says where, in millimetres, the centre of the voxel (i, j, k) lies.

# %%
head = read_volume(series)
print("array (channel, i, j, k):", head.array.shape, "  HU from", head.array.min(), "to", head.array.max())
print("spacing in mm:", head.spacing_mm, "  axes run to:", head.orientation)
print(np.round(head.affine, 2))

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4))
cut = np.clip((head.array[0][:, 64, :].T - 0) / 80, 0, 1)  # brain window, seen from the front
shapes = [("voxels drawn as squares", 1), ("true shape: 6 mm by 1.6 mm", 6 / 1.6)]
for axis, (title, aspect) in zip(axes, shapes, strict=True):
    axis.imshow(cut, cmap="gray", origin="lower", aspect=aspect)
    axis.set(title=title, xlabel="i (voxels of 1.6 mm)", ylabel="k (slices of 6 mm)")
figure.tight_layout()

# %% [markdown]
# Anna from the front, her left on the right. The left picture shows a flat head; the right one, from the same numbers,
# shows hers.
#
# A network has kernels of 3 × 3 × 3 *voxels*, so volumes are brought to one spacing before they are learned from.
# Three things change together: the **number of voxels**, the **spacing**, and the **origin**. The last one is
# forgotten most: the affine speaks of *centres* of voxels. When voxels become larger and the block of tissue stays
# the same, the centre of the first voxel moves inwards, by half the difference.
#
# ai4diag does it in three steps, one axis at a time (`ai4diag.data.grid`):
#
# | call | gives |
# |---|---|
# | `grid.finer(affine, sides, spacing_mm)` | affine and sides of the new grid, which covers the same block |
# | `grid.places(new_affine, new_sides, affine)` | where the new voxels lie on the old grid, for each axis |
# | `grid.linear(array, places)` | values there; the array has its channel first: `(channels, i, j, k)` |
#
# ### Exercise: another spacing
#
# Define `resampled(array, affine, spacing_mm)`. `array` is `(i, j, k)`, `spacing_mm` three numbers. Return two
# things: the new array `(i, j, k)`, and the new affine.


# %% tags=["exercise:m03.resample"]
def resampled(array, affine, spacing_mm):
    """Return array and affine at another spacing."""
    new_affine, sides = grid.finer(affine, array.shape, spacing_mm)
    # --- solution
    places = grid.places(new_affine, sides, affine)
    return grid.linear(array[None], places)[0], new_affine
    # --- learner
    # # array[None] puts a channel in front, [0] takes it away
    # return array, new_affine
    # --- end


# %% [markdown] tags=["trainer"]
# **15 minutes**: 6 talk, 7 exercise. Draw two rows of boxes on the board, six narrow ones above three wide ones, and
# mark centres: everybody sees that the first centre moves. `scipy.ndimage.zoom` aligns the *centres* of the corner
# voxels by default; combined with an affine that was only multiplied, everything is off by half a voxel or more: the
# check says so.
#
# If time is short: show the solution, run the check, and go on; orientation and headers matter more today.

# %% [markdown]
# ## Which way is up
#
# An array has no left and no right. The affine has. ai4diag uses **RAS+**, as NIfTI does: x grows to the patient's
# **R**ight, y to the front (**A**nterior), z to the head (**S**uperior). DICOM counts x and y the other way (LPS).
# And on the screen, radiologists look from the feet: the patient's right is on the *left* of the picture.
#
# Here is a real MR crop around a hippocampus, with its mask from the Medical Segmentation Decathlon. Then the same
# mask as another program could have saved it, with its second axis reversed. Both files are correct, because each
# says in its affine how its axes run.

# %%
raw = here.root / "data" / "msd_hippocampus"
case = sorted(path.name for path in (raw / "labels").glob("*.nii.gz"))[0]
image, truth = read_volume(raw / "images" / case), read_volume(raw / "labels" / case)


def turned(volume, order, reversed_axes):
    """Return a volume as a program with other axes would save it: each voxel stays where it is in the patient."""
    array, affine = volume.array, volume.affine.copy()
    for axis in reversed_axes:
        affine[:3, 3] += affine[:3, axis] * (array.shape[1 + axis] - 1)
        affine[:3, axis] *= -1
    array = np.flip(array, [1 + axis for axis in reversed_axes]).transpose(0, *(1 + np.array(order)))
    affine[:, :3] = affine[:, list(order)]
    return Volume(np.ascontiguousarray(array), affine)


saved = turned(truth, (0, 1, 2), (1,))
print("image: ", image.array.shape[1:], image.orientation)
print("mask:  ", saved.array.shape[1:], saved.orientation)

layer = int(np.argmax((truth.array[0] > 0).sum(axis=(0, 1))))
figure, axes = plt.subplots(1, 2, figsize=(9, 4))
masks = {"arrays laid on each other": saved, "through the affine": truth}
for axis, (title, mask) in zip(axes, masks.items(), strict=True):
    axis.imshow(image.array[0, :, :, layer].T, cmap="gray", origin="lower")
    axis.contour(mask.array[0, :, :, layer].T > 0, levels=[0.5], colors="white", linewidths=2)
    axis.set(title=title, xlabel="i (mm, to the right)", ylabel="j (mm, to the front)")
figure.tight_layout()

# %% [markdown]
# (Index *i* runs to the patient's right and is drawn to the right: here the patient's right is on the right, other than
# on a radiologist's screen. The label of the axis says so.)
#
# Both arrays have the same shape, so that numpy lays one on the other without a word. On the left the outline is
# front to back and fits no structure; on the right it follows the hippocampus. A reader sees that here. Where a body
# is symmetric, left and right, nobody sees it: that is how a bleed changes sides.
#
# ### Exercise: a mask on its image
#
# Define `onto(mask, mask_affine, image_shape, image_affine)`. Return the mask as an array with the axes of the image,
# of shape `image_shape`. Both show the same voxels of the same patient; only order and direction of the axes differ.
# Either of them may run any way.
# `Volume(array, affine)` wants a channel first. `volume.canonical()` gives the same volume in RAS order;
# `volume.back(array)` brings an array `(channels, i, j, k)` from RAS order to the axes of `volume`.


# %% tags=["exercise:m03.overlay"]
def onto(mask, mask_affine, image_shape, image_affine):
    """Return the mask with the axes of the image."""
    like = Volume(np.zeros((1, *image_shape), np.uint8), image_affine)
    # --- solution
    upright = Volume(mask[None], mask_affine).canonical()
    return like.back(upright.array)[0]
    # --- end


# %% [markdown] tags=["trainer"]
# **15 minutes.** Let two people face each other and raise the right hand: whose right is the right of the picture?
# Then the exercise. Common error: `transpose` until the shapes agree; for a cube every order "agrees".
#
# **Misconception:** "The shapes are the same, so the mask fits." **Say:** Eight reversals have that shape, and
# of a cube six orders as well. Only the affine tells, and software that ignores it never complains.

# %% [markdown]
# ## Names in the header
#
# A DICOM file is a list of elements: a number in brackets, a type, a value. Several thousand kinds are defined,
# elements can hold sequences of further elements, and every manufacturer may add private ones. The next cells show
# the card of a data set made for testing, and open one of its files: the patient is Homer Simpson. `find` walks
# through everything, sequences too, and says where given texts stand.

# %%
# !ai4diag data show dicom_deid_phi


# %%
def find(dataset, values, inside=""):
    """Return where one of the texts stands: tag and name of each element, whatever the case of the letters."""
    found = []
    for element in dataset:
        where = f"{inside}{element.tag} {element.name}"
        if element.VR == "SQ":
            found += [hit for item in element.value for hit in find(item, values, where + " > ")]
        elif any(str(value).lower() in str(element.value).lower() for value in values):
            found.append(where)
    return found


real = pydicom.dcmread(here.root / "data" / "dicom_deid_phi" / "humans" / "ctbrain1.dcm")
print(len(real), "elements at the top level; the patient's:", real.PatientName, real.PatientID, real.OtherPatientIDs)
WHO = ["SIMPSON", "HIBBARD", str(real.PatientID), "M1212121", "999887722", "SPRINGFIELD"]
find(real, WHO)

# %% [markdown]
# Many scripts on the web empty a short list of well-known elements. Here is such a list, and what it leaves:

# %%
naive = pydicom.dcmread(here.root / "data" / "dicom_deid_phi" / "humans" / "ctbrain1.dcm")
SHORT_LIST = ["PatientName", "PatientID", "PatientBirthDate", "InstitutionName", "ReferringPhysicianName"]
for keyword in [*SHORT_LIST, "AccessionNumber"]:
    if keyword in naive:
        naive[keyword].value = ""
find(naive, WHO)

# %% [markdown]
# The name is still there, in a **private** element of a picture archive; so are the physician, the other patient
# number, and the accession number under another name. Private elements cannot be listed beforehand, and free text can
# hold anything. And a date of birth, a rare study date or a UID (which the hospital can look up) are identifiers
# without looking like a name.
#
# The way out is to turn the question round: do not list what must go, **list what may stay**, and drop everything else.
# That is what ai4diag's own reader does: `GEOMETRY` is all that it asks a DICOM file for, beside the pixels and how they
# are packed. The UID of the series is in it, to tell two series in one folder apart, and goes no further. For a header to
# be shared, leave that one out and add the modality:

# %%
KEEP = ["Modality", *(keyword for keyword in GEOMETRY if keyword != "SeriesInstanceUID")]
print(", ".join(KEEP))

# %% [markdown]
# So whatever was read has no name in it, and whatever is written from it has none:

# %%
write_nifti(here.folder / "head.nii", head.array, like=head)
print("FERENCZY in a DICOM file:", b"FERENCZY" in (series / "08.dcm").read_bytes())
print("FERENCZY in the NIfTI file:", b"FERENCZY" in (here.folder / "head.nii").read_bytes())

# %% [markdown]
# **What ai4diag does and does not do about identifiers**
#
# - It **reads** geometry and pixels of DICOM, and names files, never values, in messages. It **does not de-identify**
#   DICOM files: it has no command for that. The hospital's own tool comes first.
# - It **keeps** all cases of one patient in one part of a split, by the column that the card names as `patient`. It
#   **does not make** that column a pseudonym: case and patient identifiers are taken *as they are*.
# - It **writes** ranks instead of identifiers to an evidence pack, and searches the pack for those of the data. It
#   **does not look** for names in free text, in names of your own files, or in pixels.
# - Reports and predictions stay in the workspace, and hold identifiers of cases: treat them like the data.
#
# ### Exercise: keep what is needed
#
# Define `clean(dataset)`. It gets a `pydicom.Dataset` and returns one in which the elements of `KEEP` are left with
# their values, those of them that were there, and nothing else, not even an emptied element: no names, numbers, dates
# or UIDs, none in sequences, private elements or free text. Leave the dataset that you were given as it is.


# %% tags=["exercise:m03.clean"]
def clean(dataset):
    """Return a dataset that holds what is needed and nothing else."""
    kept = pydicom.Dataset()
    for keyword in KEEP:
        # --- solution
        if keyword in dataset:
            kept[keyword] = dataset[keyword]
        # --- end
    return kept


# %%
print("left in the real file:", find(clean(real) or real, WHO))

# %% [markdown]
# What is left is no complete DICOM file: the standard demands UIDs, for example. It is what a program needs to read the
# picture, and no more.

# %% [markdown] tags=["trainer"]
# **20 minutes**: 8 talk, 9 exercise. Let them guess *before* running the second `find`: "How many of these are left?"
# Put people of companies beside people of hospitals here: who in the hospital may decide what stays?
#
# Say plainly that this is the principle, not a product: real de-identification follows a profile (DICOM PS3.15, Annex
# E), gives new UIDs that still belong together, keeps what the purpose needs (an age group, say), writes into the file
# that and how it was done (`PatientIdentityRemoved`, `DeidentificationMethod`), and is checked by a second program. No
# profile promises that nobody can be recognised, and pseudonymised data stay personal data.
#
# **Misconception:** "We delete PatientName and PatientID, so it is anonymous." **Say:** Read the second list aloud.
# And an exam on a certain day in a certain hospital with a rare finding is one person, with no name at all.

# %% [markdown]
# ## Names in the pixels
#
# Ultrasound machines, scanners of film and secondary captures write text *into the picture*. No rule for headers sees
# it. Two images made for testing:

# %%
folder = here.root / "data" / "dicom_deid_phi" / "ultrasounds"
scans = {name: pydicom.dcmread(folder / f"{name}_IMAGE.dcm") for name in ["GREYSCALE", "RGB"]}
figure, axes = plt.subplots(2, 1, figsize=(10, 3.4))
for axis, (name, scan) in zip(axes, scans.items(), strict=True):
    axis.imshow(scan.pixel_array[:60], cmap="gray")
    said = scan.get("BurnedInAnnotation", "absent")
    axis.set(title=f"{name}: first 60 rows; BurnedInAnnotation: {said}", xlabel="column", ylabel="row")
figure.tight_layout()

# %% [markdown]
# Both show a name. One header admits it (`BurnedInAnnotation: YES`), the other says nothing at all; **absent is not
# no**. The number in the first picture is not the patient's number of its header, so that searching the pixels for
# what the header says misses it. Programs that read text from pictures miss some and find text where none is.
#
# What does help: ultrasound files often say which rectangle holds the *picture* (`SequenceOfUltrasoundRegions`). Keep
# the rectangle and black out the rest; where nothing is said, share nothing until a person has looked.


# %%
def region_of(scan):
    """Return the rectangle of the picture: columns x0 to x1, rows y0 to y1, the last included; None: not said."""
    for item in scan.get("SequenceOfUltrasoundRegions", [])[:1]:
        return {
            "x0": item.RegionLocationMinX0,
            "x1": item.RegionLocationMaxX1,
            "y0": item.RegionLocationMinY0,
            "y1": item.RegionLocationMaxY1,
        }
    return None


{name: region_of(scan) for name, scan in scans.items()}

# %% [markdown]
# ### Exercise: pixels to share
#
# Define `to_share(pixels, region)`. `pixels` is `(rows, columns)` or `(rows, columns, 3)`; `region` is what `region_of`
# returns. Give an array of the same shape and type with 0 outside the rectangle, and leave `pixels` as it is. x counts
# columns, y counts rows, `x1` and `y1` still belong to the picture. Where `region` is None, return None: nothing is
# shared.


# %% tags=["exercise:m03.pixels"]
def to_share(pixels, region):
    """Return pixels without what lies outside the picture."""
    # --- solution
    if region is None:
        return None
    inside = slice(region["y0"], region["y1"] + 1), slice(region["x0"], region["x1"] + 1)
    shared = np.zeros_like(pixels)
    shared[inside] = pixels[inside]
    return shared
    # --- end


# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4))
for axis, (name, scan) in zip(axes, scans.items(), strict=True):
    shared = to_share(scan.pixel_array, region_of(scan))
    if isinstance(shared, np.ndarray):
        axis.imshow(shared, cmap="gray")
    axis.set(title=f"{name}: what would be shared", xlabel="column", ylabel="row")
figure.tight_layout()

# %% [markdown]
# The lines with names are gone; settings of the machine inside the rectangle are left, and are no identifiers. A person
# still looks: a rectangle can be wrong, and a face can be rebuilt from a head CT that has no text in it at all.

# %% [markdown] tags=["trainer"]
# **11 minutes.** Who is late may leave out this exercise and read the solution; the quiz asks about the idea alone.
# Ask: "Your partner sends 10,000 ultrasound images. What is the plan?" A good one: the hospital's tool removes known
# regions; unknown devices are held back; a sample is looked at by a person; what was found is written down.

# %% [markdown]
# ## Key points
#
# - Stored numbers become HU by slope and intercept; a window in HU, chosen for the question, makes them visible.
# - Spacing, number of voxels and origin change together. The affine speaks of centres of voxels.
# - Equal shapes prove nothing: order and direction of axes are in the affine. `canonical()` and `back()` bring masks
#   home.
# - List what may stay in a header, not what must go: private elements, sequences and free text hold names too.
# - Pixels can hold names. Absent is not no: block when in doubt, and let a person look.
# - ai4diag reads geometry and pixels only. It does not de-identify, and takes identifiers of cases as the data give
#   them.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
