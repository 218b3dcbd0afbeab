# ---
# jupyter:
#   ai4diag:
#     id: m02
#     title: Data you can trust
#     badge: Explorer
#     ambitions: [skills]
#     minutes: 120
#     sections:
#       Story: 6
#       Who is in which part?: 28
#       The same picture twice: 24
#       What does the model really see?: 22
#       May we use it?: 12
#       Which version is it?: 18
#       Key points: 3
#       Quiz: 7
#     needs: [m01]
#     objectives:
#       - split cases so that no patient is in two parts, and explain what a wrong split is worth
#       - find copies of pictures that a checksum misses, by their ids
#       - read what the leak scan of `prepare` found, and decide what to do about it
#       - detect a confounder by looking at each hospital by itself
#       - read a licence and decide whether a product may rest on the data
#       - name which stages must run again when a file has changed
#     data: [uci_parkinsons, pneumoniamnist_reconstructed]
#     pipelines: [parkinsons-voice, chest-xray]
#     runs: [parkinsons-voice, chest-xray --quick]
# ---

# %%
import hashlib
import json
import math
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ai4diag import lab
from ai4diag.config.base import read_yaml
from ai4diag.course import check, start

here = start("m02")
here

# %% [markdown]
# ## Story
#
# Ingrid is 67. Her hand trembles a little and her voice has become soft; her daughter asks whether it is Parkinson's
# disease. A company promises an app: say "aaah" into the telephone, and a model answers. "AUROC 0.94", says the
# brochure.
#
# - **missed**: Ingrid is told that nothing is wrong, and comes to a neurologist a year later;
# - **false alarm**: she lives for months with a diagnosis that she does not have.
#
# The brochure is not a lie: somebody measured 0.94. But the data answered another question than Ingrid's. In this
# lesson you learn to ask of any data set: *Who is in which part? Is something in it twice? What does the model really
# see? May we use it? And which version is it?* A better network answers none of these.

# %% [markdown] tags=["trainer"]
# **First 6 minutes.** Tell the story without the word "leak". Then a poll by hands: "Who would pay for the app at 0.94?
# And at 0.78?" Write both numbers on the wall; in 20 minutes they come back. Pair learners of different companies: one
# brings experience with tables, the other with pictures, as far as the room allows.

# %% [markdown]
# ## Who is in which part?
#
# The voices come from 195 recordings. Look at what the card of the data set says about patients, licence and pitfalls.

# %%
lab.dataset("uci_parkinsons")

# %% [markdown]
# Each person was recorded six or seven times. The figure shows the mean pitch of each recording, one line per person,
# the people ordered by pitch. See how close the dots of one line are, and how far apart the lines: a voice is
# recognisable. Filled dots are people with the disease.

# %%
voices = pd.read_csv(here.root / "data" / "uci_parkinsons" / "parkinsons.data")
voices["person"] = voices["name"].str.rsplit("_", n=1).str[0]
order = voices.groupby("person")["MDVP:Fo(Hz)"].mean().sort_values().index
figure, axes = plt.subplots(figsize=(6.5, 4.2))
for place, person in enumerate(order):
    own = voices[voices["person"] == person]
    face = "0.2" if own["status"].iloc[0] == 1 else "white"
    axes.plot(own["MDVP:Fo(Hz)"], [place] * len(own), "o", color="0.2", markerfacecolor=face, markersize=4)
axes.set_xlabel("mean pitch of the recording (Hz)")
axes.set_ylabel("person (32, ordered by pitch)")
figure.tight_layout()

# %% [markdown]
# Deal the *recordings* out at random, and nearly every person of the test part was also heard in training. The model
# need not know the disease: it recognises the speaker and remembers the diagnosis. But the next patient, Ingrid, is a
# new voice.
#
# The shipped pipeline measures both ways: divided by person, and, marked as wrong on purpose, by recording
# (`contrast`).

# %%
table = lab.run("parkinsons-voice").table()
table[table["name"] == "auroc"][["part", "value", "low", "high", "n", "n_patients"]]

# %% [markdown]
# One of the two is the number of the brochure. The other, by person, is the answer for Ingrid, and its interval says
# how little 32 people tell. (The card above speaks of a random forest; with another model both numbers differ a little,
# and the gap between them stays.)
#
# What if somebody writes the wrong split into the recipe? `prepare` divides the cases, and it looks for leaks before
# anything is trained. It stops:

# %%
wrong = "--set data.split.by=case_id --set data.split.test=0.2 --set data.split.contrast=null"
# !ai4diag prepare parkinsons-voice {wrong} 2>&1 | cut -c 1-300

# %% [markdown]
# ### Exercise: nobody in two parts
#
# Define `grouped_split(patient, test_share, seed)`. `patient` is a list with one text per case: whose case it is, in
# any order, some patients with many cases. `test_share` is the share of the *patients* (not of the cases) that shall be
# test, between 0 and 1. Return a list with `"train"` or `"test"` for each case, in the order of `patient`:
#
# - all cases of a patient are in one part;
# - as many patients are test as `test_share` says (one more or less does not matter);
# - the same seed gives the same split, another seed another one.

# %% tags=["exercise:m02.split"]
def grouped_split(patient, test_share, seed):
    # --- solution
    people = sorted(set(patient))
    n_test = round(test_share * len(people))
    test = set(np.random.default_rng(seed).permutation(people)[:n_test])
    return ["test" if person in test else "train" for person in patient]
    # --- end


# %% [markdown] tags=["trainer"]
# **6 to 34 minutes.** Fifteen minutes up to the exercise, ten for it. At the table with the two AUROCs be silent for
# half a minute. Then: "What did the model learn in the second line?"
#
# Watch for: shuffling cases; 20 % of the cases instead of the patients (with unequal patients that need not work out);
# the global `np.random.seed`, which every other cell changes as well.
#
# **Misconception:** "I shuffled, so it is random, so it is fair." **Say:** Random over what? Shuffle people, not
# recordings.
#
# **Misconception:** "Splitting by person throws information away, the number is worse." **Say:** It is not the model
# that became worse. The question became yours: how well does it do for somebody it has never heard?

# %% [markdown]
# ## The same picture twice
#
# Where no patient is named, the picture itself is all there is. `chest-xray` has 5,856 X-rays of children and no
# patient identifiers. What did `prepare` find? Its findings are kept beside the prepared cases; those with the level
# `error` would have stopped it.

# %%
folder = here.root / "pipelines" / "chest-xray" / "out" / "quick" / "prepared"
findings = pd.DataFrame(json.loads((folder / "findings.json").read_text(encoding="utf-8")))
for row in findings.itertuples():
    print(f"{row.level:8} {row.code:18} {row.found[:150]}")

# %% [markdown]
# Equal pictures are found by a hash of their bytes. The last finding is of another kind: two pictures with different
# bytes that are nearly one. Look at them: the same ribs and shadows, a little moved. It looks like one child, once for
# training and once for validation. Nobody here can know; somebody would have to ask the hospital.

# %%
raw = np.load(here.root / "data" / "pneumoniamnist_reconstructed" / "pneumoniamnist_reconstructed.npz")
pair = {"train-03679": raw["train_images"][3678], "val-00212": raw["val_images"][211]}
figure, axes = plt.subplots(1, 2, figsize=(5, 2.6))
for panel, (name, picture) in zip(axes, pair.items(), strict=True):
    panel.imshow(picture, cmap="gray", vmin=0, vmax=255)
    panel.set_title(name, fontsize=10)
    panel.set_xlabel("column (pixel)")
axes[0].set_ylabel("row (pixel)")
figure.tight_layout()
same = np.corrcoef(*(picture.ravel() for picture in pair.values()))[0, 1]
hashes = [hashlib.sha256(picture.tobytes()).hexdigest()[:8] for picture in pair.values()]
print(f"hashes {hashes}, correlation {same:.3f}")

# %% [markdown]
# A hash says nothing here: one grey value changed, and it is another hash. **Correlation** compares where it is light
# and where dark, and does not mind brightness or contrast. How alike are two different children?

# %%
few = raw["test_images"][:200].reshape(200, -1)
likeness = np.corrcoef(few)[np.triu_indices(200, k=1)]
print(f"pairs of test pictures: half correlate above {np.median(likeness):.2f}, the most alike {likeness.max():.3f}")

# %% [markdown]
# Chest X-rays are all alike. Plain correlation is enough for a copy that is only lighter or flatter, and not for a pair
# that was moved like the one above: compare its correlation with the most alike strangers. The product undoes a shift
# or a crop, takes the coarse brightness away, and asks how far a pair stands out ([how well that
# works](../docs/concepts/splits-and-leaks.md)). You begin with the simpler case.
#
# ### Exercise: find the copies
#
# Somebody put together a data set from two sources, and some children came twice. Define `find_copies(pictures)`.
# `pictures` maps an id (text) to a picture (array of 28 x 28 grey values, 0 to 255). Return a list of pairs of ids,
# each as a tuple `(a, b)`, one for every two entries that are the same picture: byte for byte, *or* only with another
# brightness and contrast. Name nobody else: each pair is a child that you would ask a hospital about. (Two different
# children correlate with up to about 0.95 here.)

# %% tags=["exercise:m02.copies"]
def find_copies(pictures):
    # --- solution
    names = list(pictures)
    likeness = np.corrcoef([np.asarray(pictures[name], float).ravel() for name in names])
    return [(names[i], names[j]) for i, j in combinations(range(len(names)), 2) if likeness[i, j] > 0.98]
    # --- end


# %% [markdown]
# A copy that stands in two parts and touches the test part is an error: `prepare` stops. Three ways on: take the copy
# out, give both the same patient, or let it stand and **say why** (`data.waive`, with a reason that is printed in the
# report).

# %% [markdown] tags=["trainer"]
# **34 to 58 minutes.** Let everybody look at the two pictures before the correlation is shown; ask for a vote: one
# child or two? Ten minutes for the exercise. Who is done early: what would a hash of the picture have found, and what
# does a copy of half the size do to the correlation?
#
# **Misconception:** "We have checksums, so there are no duplicates." **Say:** A checksum sees a copy only if every byte
# is the same. Save it as JPEG once, and it is a stranger.
#
# Discussion: a look-alike pair stands across train and test of an *official* split that everybody reports on. Take it
# out and lose comparability, or let it stand? There is no right answer, but there is a right place for it: the report.
#
# Break after this section.

# %% [markdown]
# ## What does the model really see?
#
# Look at the figure of the voices once more. The highest voices are mostly of healthy people. Is a low voice a sign of
# Parkinson's disease? Men have lower voices than women. If there are more men among the ill, pitch tells the sex, and
# the sex "tells" the disease: a **confounder**. The file has neither sex nor age, so nobody can find out. That is a
# reason not to trust it, and no statistic removes it.

# %%
people = voices.groupby("person").agg(pitch=("MDVP:Fo(Hz)", "mean"), ill=("status", "first"))
print(f"pitch alone, by person: AUROC {roc_auc_score(people['ill'], -people['pitch']):.2f} (0.5 is chance)")

# %% [markdown]
# The commonest confounder is the **place**. Hospitals with more ill patients have other cameras, other forms, other
# habits. A model that only recognises the hospital looks good in the pooled test part, and is worthless in each single
# one.
#
# Here are two invented hospitals. The score knows the camera and nothing else. See in the figure how the ill (filled)
# and the well (open) of one hospital lie on top of each other, while the hospitals lie apart.

# %%
random = np.random.default_rng(5)
site = np.repeat(["north", "south"], 150)
truth = (random.random(300) < np.where(site == "north", 0.85, 0.15)).astype(int)
score = np.clip(np.where(site == "north", 0.65, 0.35) + random.normal(0, 0.1, 300), 0, 1)
figure, axes = plt.subplots(figsize=(6.5, 2.2))
for ill, face in ((1, "0.2"), (0, "white")):
    chosen = truth == ill
    height = (site[chosen] == "south") + random.uniform(-0.25, 0.25, chosen.sum())
    label = "ill" if ill else "well"
    axes.plot(score[chosen], height, "o", color="0.2", markerfacecolor=face, markersize=4, label=label)
axes.set_yticks([0, 1], ["north", "south"])
axes.set_xlabel("score of the model (no unit)")
axes.legend(loc="center left", fontsize=8)
figure.tight_layout()
print(f"pooled AUROC: {roc_auc_score(truth, score):.2f}")

# %% [markdown]
# ### Exercise: hospital by hospital
#
# Define `by_site(score, truth, site)`: three arrays of one length, the scores, the truth (1 ill, 0 well) and the
# hospital's name per patient. Return a mapping from each hospital's name to its AUROC, computed from its own patients
# alone, or `math.nan` where all of its patients are ill or all are well. `roc_auc_score(truth, score)` of scikit-learn
# is imported already.

# %% tags=["exercise:m02.site"]
def by_site(score, truth, site):
    # --- solution
    score, truth, site = np.asarray(score), np.asarray(truth), np.asarray(site)
    found = {}
    for name in np.unique(site):
        own = site == name
        both = 0 < truth[own].sum() < own.sum()
        found[str(name)] = float(roc_auc_score(truth[own], score[own])) if both else math.nan
    return found
    # --- end


print(by_site(score, truth, site))

# %% [markdown]
# In the product this is one line of the recipe, `evaluate.subgroups: [site]`, and a table in every report. The leak
# scan also looks for columns that tell the label or the hospital all by themselves, for missing values that tell it,
# and for traces of how the data were put together, such as the order of the rows.

# %% [markdown] tags=["trainer"]
# **58 to 80 minutes.** Eight minutes of talk, ten for the exercise. Ask each table for a confounder of their own trade:
# the ruler beside the mole, the portable X-ray machine at the bedside of the severely ill, the laboratory test that is
# ordered only on suspicion.
#
# **Misconception:** "The model will find out by itself what matters." **Say:** It finds what is easiest. The camera is
# easier than the disease.
#
# **Misconception:** "With more data from both hospitals this goes away." **Say:** It becomes more certain, not less.
# More of the same bias is a narrower interval around the wrong number.

# %% [markdown]
# ## May we use it?
#
# Data that lie on the internet belong to somebody. The **licence** says what you may do. Each card of a data set names
# it, and who must be named; `ai4diag data show NAME` prints it, and `ai4diag data list` has all.

# %%
# lines = !ai4diag data list --json
cards = pd.DataFrame(json.loads("\n".join(lines)))
cards.groupby("licence").agg(data_sets=("name", "size"), commercial=("commercial", "first"))

# %% [markdown]
# How to read the short names: `BY`, name the authors. `NC`, non-commercial: no product rests on it, not even a free
# trial of one. `SA`, share alike: what you make from the data and pass on carries the same licence; whether a trained
# model is such a thing, ask a lawyer. `ND`, no derivatives: you may not pass on what you changed; ask.
# `LicenseRef-...`: somebody's own terms; read them and ask. No licence at all is not freedom, it is no permission.
#
# ### Exercise: sell, ask, or leave it
#
# Define `may_sell(licence)`. `licence` is a short name such as `"CC-BY-4.0"`, or an empty text where there is none.
# Return, for a company that sells a model trained on the data, one of three texts:
#
# - `"no"`: one of the parts between the hyphens is `NC`, or there is no licence;
# - `"ask"`: not that, but one of the parts is `SA` or `ND`, or it begins with `LicenseRef-`;
# - `"yes"`: all others.

# %% tags=["exercise:m02.licence"]
def may_sell(licence):
    # --- solution
    parts = licence.split("-")
    if not licence or "NC" in parts:
        return "no"
    return "ask" if {"SA", "ND"} & set(parts) or licence.startswith("LicenseRef-") else "yes"
    # --- end


cards.assign(sell=cards["licence"].map(may_sell)).groupby("sell", dropna=False)["name"].agg(["size", "first"])

# %% [markdown] tags=["trainer"]
# **80 to 92 minutes.** You are no lawyer, say so. What learners take home is the habit: read the licence *before* the
# first training, and write it on the card. A licence is about copyright; whether patients agreed is another question,
# and the terms of use may say more than the licence (`ai4diag data show`).
#
# **Misconception:** "It is on a public website, so it is free." **Say:** Free to look at. Without a licence nobody has
# permitted anything.

# %% [markdown]
# ## Which version is it?
#
# Next month the provider corrects ten labels. Which of your figures still hold? **DVC** keeps, in `dvc.lock`, what each
# stage read and wrote, each file with its hash (MD5). `ai4diag run` asks DVC which stages must run again. One stage
# alone, `prepare`:

# %%
# !cd {here.root} && dvc repro --quiet prepare@parkinsons-voice && dvc status prepare@parkinsons-voice

# %%
stages = read_yaml(here.root / "dvc.lock")["stages"]
prepare = stages["prepare@parkinsons-voice"]
for kind in ("deps", "outs"):
    for file in prepare[kind]:
        print(f"{kind}  {file['md5'][:12]}  {file['path']}")

# %% [markdown]
# Is the card of the data set still the one that was read? Compute its MD5 and compare:

# %%
card = here.root / "datasets" / "uci_parkinsons.yaml"
now = hashlib.md5(card.read_bytes(), usedforsecurity=False).hexdigest()
locked = {file["path"]: file["md5"] for file in prepare["deps"]}
print("the card is what `prepare` read:", locked["datasets/uci_parkinsons.yaml"] == now)

# %% [markdown]
# ### Exercise: what must run again?
#
# Define `stale(stages, now)`. `stages` maps the name of a stage to a mapping with `"deps"` and `"outs"`, each a mapping
# from a file's path to the MD5 that the lock file has. `now` maps the path of every file that lies here now to its MD5;
# a path that is not in it does not exist. Return the sorted list of the stages that must run again: a file that they
# read (`deps`) or wrote (`outs`) has another MD5 now, or is gone. A stage whose files are all as they were need not
# run, even if the stage before it must.

# %% tags=["exercise:m02.stale"]
def stale(stages, now):
    # --- solution
    def changed(stage):
        return any(now.get(path) != md5 for path, md5 in [*stage["deps"].items(), *stage["outs"].items()])

    return sorted(name for name, stage in stages.items() if changed(stage))
    # --- end


# %% [markdown] tags=["trainer"]
# **92 to 110 minutes.** Draw two boxes on the board, `prepare` and `train`, an arrow between them, and a hash on each
# arrow. Ask: "A comment in the card is corrected. What runs again?" (`prepare`; and `train` only if the prepared cases
# came out different.) Ten minutes for the exercise.
#
# **Misconception:** "The data are in git." **Say:** Their hashes are. The bytes are too large, or too private; DVC
# keeps them where you say, and can tell whether they are the same.
#
# The last rule of the exercise surprises many; a run that changes nothing downstream saves hours of training.

# %% [markdown]
# ## Key points
#
# - Split by patient. A random split of recordings measures whether the model knows the speaker.
# - `prepare` looks for leaks and stops; what is let pass has a written reason in the report.
# - A checksum finds equal bytes; likeness finds copies. Both belong to the leak scan.
# - Look at each hospital by itself: a model that recognises the place looks good only in the pool.
# - Read the licence and the terms before the first training. NC is no, SA and own terms are a question.
# - `dvc.lock` ties every result to hashes of what was read and written.
#
# More: [splits and leaks](../docs/concepts/splits-and-leaks.md), [what to do about a
# finding](../docs/how-to/leak-findings.md), [cards](../docs/reference/cards.md), [add a data
# set](../docs/how-to/add-a-dataset.md).

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]

# %% [markdown] tags=["trainer"]
# **Last 10 minutes.** Key points together, quiz alone, seven minutes. Close with the poll of the beginning: who would
# pay for the app now, and what would you ask the seller first?
