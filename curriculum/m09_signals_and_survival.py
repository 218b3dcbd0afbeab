# ---
# jupyter:
#   ai4diag:
#     id: m09
#     title: Signals and survival
#     badge: Builder
#     ambitions: [services, skills]
#     minutes: 120
#     sections:
#       Story: 10
#       Beats belong to people: 20
#       What a split by beat hides: 25
#       Not everybody has been followed to the end: 20
#       A survival curve: 20
#       Who is at higher risk: 15
#       Key points: 3
#       Quiz: 7
#     needs: [m05]
#     objectives:
#       - split heartbeats so that no patient is in two parts
#       - compute sensitivity patient by patient, and explain why a split by beat flatters
#       - decide what is known of a censored patient at a horizon
#       - compute a Kaplan-Meier curve that keeps censored patients
#       - count the comparable pairs behind a C-index, by hand
#     data: [mitbih_pvc_subset, tcga_brca_survival]
#     pipelines: [ecg-pvc, breast-cancer-survival]
#     runs: ["ecg-pvc --quick"]
# ---

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ai4diag import lab
from ai4diag.course import check, start
from ai4diag.evaluation.survival import Outcomes

here = start("m09")
here

# %% [markdown]
# ## Story
#
# Two patients, two questions, one trap: **a row of a table is not a person.**
#
# **Rosa is 71.** She wears a recorder for a day: about 100,000 heartbeats. Some of them come too early and from the
# wrong place: premature ventricular contractions (PVC). A model shall put the suspicious beats before the
# cardiologist. A missed run of them may cost Rosa her life; a thousand false alarms cost the cardiologist the evening,
# and then nobody reads the list. Rosa is **new**: no beat of hers was ever in a training set.
#
# **Elif is 48.** She has just been told that she has breast cancer. Her question is not "yes or no" but "how long?".
# The hospital knows how it went for others, but many of those were last seen alive after a year or two. Of them nobody
# knows the end.

# %% [markdown] tags=["trainer"]
# **Before the lesson.** The learners need a finished `ai4diag run ecg-pvc --quick`; the first cell says so when it is
# missing, and `ai4diag course catch-up m09` makes it (about a minute). The survival model is trained in the lesson, in
# seconds.
#
# **Two halves.** 55 minutes of signals, then a break, then survival. In a short day either half can stand alone.
#
# **First 10 minutes, opening question.** "You have 100,000 rows from eight people. How large is your
# data set?" Write the answers on the board. They come back in the first half.

# %% [markdown]
# ## Beats belong to people
#
# The pipeline `ecg-pvc` cuts a window of 0.8 seconds around each beat: 0.3 s before, 0.5 s after. `lab.case` shows one
# prepared case, with its truth and the model's answer.

# %%
prepared = here.root / "pipelines/ecg-pvc/out/quick/prepared"
index = pd.read_parquet(prepared / "index.parquet")
early = index[(index["record"] == "200") & (index["truth"] == 1)]["case_id"].iloc[10]
lab.case("ecg-pvc --quick", early)

# %%
run = lab.run("ecg-pvc --quick")
recipe = run.record.facts["recipe"]["data"]
signals = np.load(prepared / "signals.npy", mmap_mode="r")
seconds = np.arange(signals.shape[2]) / recipe["sample_rate_hz"] - recipe["window"]["before_s"]
patients = sorted(index["patient_id"].unique())

fig, axes = plt.subplots(2, 4, figsize=(10, 4.5), sharex=True)
for ax, patient in zip(axes.flat, patients, strict=True):
    for truth, style, label in ((0, "-", "other beats"), (1, "--", "PVC")):
        rows = np.flatnonzero((index["patient_id"] == patient) & (index["truth"] == truth))
        ax.plot(seconds, signals[rows, 0].mean(axis=0), style, color="black", label=label)
    ax.set_title(f"patient {patient}: {(index['patient_id'] == patient).sum():,} beats", fontsize=9)
for ax in axes[1]:
    ax.set_xlabel("time from the beat (s)")
for ax in axes[:, 0]:
    ax.set_ylabel("first lead (mV)")
axes[0, 0].legend(fontsize=7)
fig.tight_layout()
print(f"{len(index):,} beats of {len(patients)} patients")

# %% [markdown]
# *The figure has one panel per patient: the mean of the PVCs (dashed) and of all other beats (solid). What catches the
# eye first is not the difference between dashed and solid, but that between people.*
#
# How personal is a heartbeat? Deal the beats to two parts at random, as many courses do, and look up for each beat of
# one part the most similar beat of the other. Is it of the same patient?

# %%
random = np.random.default_rng(7)
drawn = random.choice(len(index), 4000, replace=False)
windows = np.asarray(signals[drawn, 0], np.float64)
windows -= windows.mean(axis=1, keepdims=True)
windows /= np.linalg.norm(windows, axis=1, keepdims=True)
asked, known = windows[:500], windows[500:]
nearest = drawn[500:][(asked @ known.T).argmax(axis=1)]
same = (index["patient_id"].to_numpy()[drawn[:500]] == index["patient_id"].to_numpy()[nearest]).mean()
chance = (index["patient_id"].value_counts(normalize=True) ** 2).sum()  # two beats drawn at random are of one patient
print(f"The most similar beat is of the same patient in {same:.0%} of 500 cases; by chance: {chance:.0%}.")

# %% [markdown]
# A model that has seen some beats of a patient needs no cardiology to answer for the others: it may recognise the
# patient. So a split deals **patients**, never beats. Nor does it deal *records*: one patient may have two. (In the
# full MIT-BIH database, records 201 and 202 are of one man.)
#
# ### Exercise: divide by patient
#
# Write `divide(records, patients, share, seed)`.
#
# - `records` and `patients` are lists of texts of equal length, one entry per beat: which record, and which patient it
#   is of.
# - `share` is the share of *patients* for the test part, a number between 0 and 1; `seed` is a whole number.
#
# Return a list of the same length with `"train"` or `"test"` for each beat: `round(share * number of patients)`
# patients, with **all** their beats, are in `"test"`. They are drawn at random; the same seed gives the same answer.
# `np.random.default_rng(seed)` draws.

# %% tags=["exercise:m09.divide"]
def divide(records, patients, share, seed):
    # --- solution
    people = sorted(set(patients))
    chosen = np.random.default_rng(seed).choice(people, size=round(share * len(people)), replace=False)
    return ["test" if patient in chosen else "train" for patient in patients]
    # --- end


# %% [markdown] tags=["trainer"]
# **10 to 30 minutes.** Ten minutes for the exercise.
#
# **Misconception:** "Stratify by label and shuffle, that is what `train_test_split` does." **Say:** "It deals rows.
# Ask what a row is: here it is four fifths of a second of a person."
#
# **Watch for** `set(patients)` without `sorted`: the order of a set of texts changes from one Python process to the
# next, so that the same seed gives another split tomorrow.
#
# **Pairs.** Let two learners from different companies tell each other what a row is in *their* data: a visit, a tile
# of a slide, a second of vibration, a tooth.

# %% [markdown]
# ## What a split by beat hides
#
# The recipe of `ecg-pvc` has `split: {by: patient_id, test: official, ..., contrast: case_id}`. So the pipeline trains
# twice: once on four patients and tested on four others, and once more, **wrong on purpose**, with as many beats dealt
# to the test part whoever they are of.

# %%
print(recipe["split"])
split = pd.read_csv(prepared / "split.csv", dtype={"patient_id": str})
for wrong, lines in split.groupby("contrast"):
    parts = lines.groupby("patient_id")["part"].agg(set)
    torn = sum("test" in found and len(found) > 1 for found in parts)
    print("by beat:   " if wrong else "by patient:", f"{torn} of {len(parts)} patients are in test and elsewhere")

both = run.table().query("name == 'auroc' and subgroup == 'all'").set_index("part")
both[["value", "low", "high", "n", "n_patients"]].round(4)

# %% [markdown]
# Row `test` is the split by patient, row `contrast` the split by beat. Both AUROCs look excellent, and the difference
# seems small. That is the treacherous part: look at the **interval**, and at the **decisions**, patient by patient.
#
# ### Exercise: sensitivity, patient by patient
#
# Write `found_by_patient(predictions, threshold)`. `predictions` is a table with the columns `patient_id`, `part`,
# `truth` (1: PVC) and `score`. Return a mapping from each patient of the part `"test"` to the share of this patient's
# PVCs with `score >= threshold`. A patient without any PVC has no sensitivity: `float("nan")`.

# %% tags=["exercise:m09.patients"]
def found_by_patient(predictions, threshold):
    # --- solution
    found = {}
    for patient, rows in predictions[predictions["part"] == "test"].groupby("patient_id"):
        early = rows[rows["truth"] == 1]
        found[patient] = float((early["score"] >= threshold).mean()) if len(early) else float("nan")
    return found
    # --- end


# %%
threshold = run.record.plan.operating_point.threshold
answers = run.predictions.assign(called=lambda table: table["score"] >= threshold)
for part, title in (("contrast", "split by beat"), ("test", "split by patient")):
    early = answers[(answers["part"] == part) & (answers["truth"] == 1)]
    print(f"{title}: all together {early['called'].mean():.2f} of {len(early)} PVCs found")
    print(early.groupby("patient_id")["called"].agg(found="mean", pvcs="size").round(2).to_string(), "\n")
print("yours:", found_by_patient(run.predictions, threshold))
print("with its interval:", run["sensitivity"])

# %% [markdown]
# Compare the two tables. Divided by beat, how many patients would you have worried about? Divided by patient, whose
# beats are missed? The pooled sensitivity is nearly that of one patient, who has most of the PVCs: a patient with a
# thousand beats is still one patient. The interval is a bootstrap of patients and knows that.

# %%
shares = answers.query("part == 'test' and truth == 1").groupby("patient_id")["called"].mean()
print(f"To Rosa: in {len(shares)} new patients {shares.min():.0%} to {shares.max():.0%} of the PVCs were found.")

# %% [markdown] tags=["trainer"]
# **30 to 55 minutes.** Let everybody read the two tables in silence before anybody explains them.
#
# **Misconception:** "The AUROC is 0.996 by patient and 0.999 by beat: it hardly matters how we split." **Say:** "Look
# at the table. The ranking within each patient is good, but the threshold does not carry over to new people. Only the
# split by patient shows it." (Figures vary a little with the machine; read them from the screen.)
#
# **Misconception:** "More beats will make the interval narrower." **Say:** "More beats of the same four people tell
# you more about these four people. The interval is about the next patient."
#
# **Discussion (5 minutes).** "How many patients would you want before you promise Rosa a sensitivity?" Nobody knows
# exactly; ten tell more than four, whatever the number of beats.
#
# **Break here.**

# %% [markdown]
# ## Not everybody has been followed to the end
#
# Elif's question. `tcga_brca_survival` holds patients with breast cancer. `T` is the number of days from the diagnosis
# to death or to the last contact; `E` is 1 if it ended with death, and 0 if the patient was alive when last seen:
# **censored**.

# %%
table = pd.read_csv(here.root / "data" / "tcga_brca_survival" / "brca.csv")
days, event = table["T"].to_numpy(float), table["E"].to_numpy(int)
print(f"{len(table)} patients: {event.sum()} died, {(event == 0).sum()} censored; median T {np.median(days):.0f} days")

some = random.choice(len(table), 14, replace=False)
some = some[np.argsort(days[some])]
fig, ax = plt.subplots(figsize=(7, 4))
ax.hlines(range(len(some)), 0, days[some], color="0.6")
for died, marker, label in ((1, "X", "died"), (0, "o", "censored: alive when last seen")):
    rows = np.flatnonzero(event[some] == died)
    ax.scatter(days[some][rows], rows, marker=marker, s=60, ec="black", fc="black" if died else "white", label=label)
ax.axvline(1826, color="black", linestyle="--")
ax.set(xlabel="days since diagnosis (dashed: five years)", ylabel="patient", yticks=[], title="Fourteen patients")
ax.legend(loc="lower right");

# %% [markdown]
# *The figure shows one line per patient, as long as the patient was under observation; a cross is a death, an open
# circle a last contact.* An open circle left of the dashed line is a patient of whom nobody knows whether five years
# were reached.
#
# ### Exercise: what is known at a horizon
#
# Write `status(days, event, horizon)` for **one** patient: `days` under observation, `event` (1: died on that day, 0:
# censored on that day), `horizon` in days. Return
#
# - `"died"` if the patient is known to have died on or before day `horizon`,
# - `"alive"` if the patient is known to have been alive on day `horizon` (a patient who was last seen on that very day
#   was),
# - `"unknown"` otherwise.

# %% tags=["exercise:m09.status"]
def status(days, event, horizon):
    # --- solution
    if event and days <= horizon:
        return "died"
    return "alive" if days >= horizon else "unknown"
    # --- end


# %%
five_years = pd.Series([status(day, happened, 1826) for day, happened in zip(days, event, strict=True)]).value_counts()
five_years

# %% [markdown]
# Now answer Elif: what share is alive after five years? Three tempting answers are wrong:
#
# | answer | what it says of the unknown | what it does |
# |---|---|---|
# | leave them out | they are like the known ones | deaths are known early, life only late: far too dark |
# | count them as alive | none of them dies before the horizon | too bright |
# | count them as dead | all die on the day of the last contact | absurdly dark |
#
# None uses what *is* known: a patient who was last seen on day 900 was alive for 900 days. That counts for those 900
# days, and no longer.

# %% [markdown] tags=["trainer"]
# **Misconception:** "Censored patients have missing labels, so we drop them." **Say:** "The label is not missing, it
# is partly known: alive for at least so long. Drop them and you keep the deaths. Look at the first of the three wrong
# answers when the curve is there."
#
# **55 to 75 minutes.** The table of three answers is the heart of the half. Let learners guess the order of
# the three numbers before the next section computes them.

# %% [markdown]
# ## A survival curve
#
# Kaplan and Meier's idea (1958): walk from death to death. On each day on which somebody died, look only at those who
# are **still under observation**, the *patients at risk*, and multiply:
#
# ```text
# S(t) = product, over all days d up to t on which somebody died, of  (1 - deaths on d / at risk on d)
# ```
#
# A censored patient is at risk up to and including the day of the last contact, then leaves silently: no step, but
# fewer at risk.
#
# ### Exercise: Kaplan and Meier by hand
#
# Write `kaplan_meier(days, event)` for arrays of equal length. Return two lists: `times`, the distinct days on which
# somebody died, in ascending order, and `survival`, the value of S from each of these days on.

# %% tags=["exercise:m09.km"]
def kaplan_meier(days, event):
    # --- solution
    times, survival, value = [], [], 1.0
    for day in np.unique(days[event == 1]):
        deaths = ((days == day) & (event == 1)).sum()
        at_risk = (days >= day).sum()
        value *= 1 - deaths / at_risk
        times.append(float(day))
        survival.append(float(value))
    return times, survival
    # --- end


# %%
outcomes = Outcomes(days, event)  # the library's own, which the pipeline uses
curve = outcomes.kaplan_meier()[0]

fig, ax = plt.subplots(figsize=(7, 4))
steps = np.concatenate([[0], outcomes.distinct])
ax.step(steps, curve, where="post", color="black", label="Kaplan-Meier, everybody kept")
alone = Outcomes(days[event == 1], event[event == 1])
ax.step(
    np.concatenate([[0], alone.distinct]), alone.kaplan_meier()[0], where="post", color="0.5", linestyle="--",
    label="censored patients dropped",
)
ax.set(xlim=(0, 3652), ylim=(0, 1.02), xlabel="days since diagnosis", ylabel="share alive", title="All patients")
ax.legend(loc="lower left")

mine = kaplan_meier(days, event)
if mine is not None:
    reference = outcomes.at(outcomes.kaplan_meier(), np.array(mine[0]))[0]
    print(f"largest difference between yours and the library's: {np.abs(np.array(mine[1]) - reference).max():.1e}")
early, late = (days <= 1826) & (event == 1), (days > 1826) | ((days == 1826) & (event == 0))
print(f"after five years, Kaplan-Meier:      {outcomes.at(outcomes.kaplan_meier(), [1826])[0, 0]:.3f}")
print(f"the unknown left out:                {late.sum() / (late | early).sum():.3f}")
print(f"the unknown counted as alive:        {1 - early.mean():.3f}")
print(f"the unknown counted as dead:         {late.mean():.3f}")
print("still under observation after 1, 3, 5, 10 years:", outcomes.at_risk([365, 1096, 1826, 3652]).tolist())

# %% [markdown]
# *The figure shows two falling staircases. The solid one keeps everybody; the dashed one, of those who died alone,
# falls towards zero, because everybody in it died.* The last printed line is the one to look at before believing the
# right end of any curve: few patients, large steps.
#
# Kaplan and Meier assume that who is censored on a day is like those who stay. If patients stop coming *because* they
# are worse, no curve can know it. Ask how follow-up ended.

# %% [markdown] tags=["trainer"]
# **75 to 95 minutes.** Do the smaller case of hint 3 on the board, day by day, before anybody types; then ten minutes
# for the exercise.
#
# **Misconception:** "The curve is flat at its end, so nobody dies any more." **Say:** "Hardly anybody is left to be
# seen dying. Read the number at risk first."

# %% [markdown]
# ## Who is at higher risk
#
# `breast-cancer-survival` is a Cox model, a regression that learns from censored patients too: age, stage and histology
# give each patient a risk. Train its small variant; it takes seconds.

# %%
survival = lab.execute("breast-cancer-survival", quick=True)
print(survival["c_index"])
rows = survival.predictions[["case_id", "time_days", "event", "score", "risk_group"]]
rows.drop(columns="case_id").head(3)

# %%
fig, ax = plt.subplots(figsize=(7, 4))
for group, style in ((1, "-"), (2, "--"), (3, ":")):
    members = rows[rows["risk_group"] == group]
    known = Outcomes(members["time_days"], members["event"])
    label = f"risk group {group}: {len(members)} patients, {members['event'].sum()} died"
    steps = np.concatenate([[0], known.distinct])
    ax.step(steps, known.kaplan_meier()[0], style, where="post", color="black", label=label)
ax.set(xlim=(0, 3652), ylim=(0, 1.02), xlabel="days since diagnosis", ylabel="share alive")
ax.set_title("Test part, by predicted risk")
ax.legend(loc="lower left");

# %% [markdown]
# *The figure shows three staircases, one per risk group; the legend gives patients and deaths of each.* The groups are
# thirds of the predicted risk in the training part, so that on the test part they need not be equally large.
#
# **Harrell's C-index** says in one number how well the risk ranks. Take all pairs of patients and ask: is it *known*
# who died first? Such a pair is **comparable**:
#
# - The one with the shorter time **died** (at the end of that time): comparable. That the other one was observed
#   longer is all we need.
# - The shorter time is **censored**: not comparable. Perhaps that patient died the day after.
# - Equal times: comparable only if exactly one of the two died; that one died first.
#
# A comparable pair is right when the one who died first has the higher risk; equal risks count one half. C = right /
# comparable: 0.5 is a coin.
#
# ### Exercise: count the pairs
#
# Write `count_pairs(days, event, risk)` for arrays of equal length. Return two numbers: `right` (ties of risk count
# 0.5) and `comparable`. Each pair counts once.

# %% tags=["exercise:m09.pairs"]
def count_pairs(days, event, risk):
    # --- solution
    right, comparable = 0.0, 0
    for first in np.flatnonzero(event == 1):
        later = (days > days[first]) | ((days == days[first]) & (event == 0))
        comparable += int(later.sum())
        right += float((risk[first] > risk[later]).sum() + 0.5 * (risk[first] == risk[later]).sum())
    return right, comparable
    # --- end


# %%
counted = count_pairs(*(rows[name].to_numpy() for name in ("time_days", "event", "score")))
if counted is not None:
    print(f"{counted[0]:.1f} of {counted[1]} comparable pairs are right: C = {counted[0] / counted[1]:.4f}")
    print(f"of {len(rows) * (len(rows) - 1) // 2} pairs in all")
print("the run:", survival["c_index"])

# %% [markdown]
# Few of all pairs are comparable, because few patients died: the number of **deaths**, not of patients, says how much
# a survival study knows. Look at the regions.

# %%
deaths = survival.predictions.groupby("site")["event"].agg(patients="size", deaths="sum")
by_site = survival.table().query("name == 'c_index' and subgroup.str.startswith('site=')")
by_site = by_site.assign(site=by_site["subgroup"].str.removeprefix("site=")).set_index("site")
deaths.join(by_site[["value", "low", "high"]]).sort_values("deaths", ascending=False).round(2)

# %% [markdown]
# A C-index of 1.00 or below 0.5 from two or three deaths is neither a triumph nor a scandal. It is next to nothing,
# and the missing or wide interval says so.
#
# What may Elif be told? Not the C-index. It ranks patients; it says nothing about how long *she* will live. Her doctor
# can show the curve of patients like her, with the number at risk below it, and say what nobody knows.

# %% [markdown] tags=["trainer"]
# **95 to 110 minutes.** Do three patients on the board: which of the three pairs are comparable?
#
# **Misconception:** "A C-index of 0.8 means that the model is right for 80 of 100 patients." **Say:** "For 80 of 100
# *comparable pairs* it names the one who died first. One patient alone has no C-index."
#
# **If time is short,** give the C-index exercise as homework: the figure of the three risk groups carries the idea.
#
# **Discussion (5 minutes, companies with hospitals).** "Why does follow-up end in your hospital: the study ends,
# people move, or they are too ill to come?" The first is harmless for
# Kaplan-Meier, the second mostly, the third is not.

# %% [markdown]
# ## Key points
#
# - A row is not a person. Deal patients to the parts, with all their beats and all their records.
# - A split by beat lets a model recognise patients. It can look perfect for people in whom it fails; read decisions
#   patient by patient.
# - Many beats of four patients are four patients. The interval draws patients.
# - A censored patient is known to be alive up to the last contact. Keep the row; count it at risk for so long.
# - Kaplan-Meier multiplies, death by death, the share of those at risk who stay alive. Look at the number at risk
#   before believing the end.
# - The C-index is the share of comparable pairs that are ranked rightly. Deaths, not patients, decide how much it
#   knows.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]

# %% [markdown] tags=["trainer"]
# **Last 10 minutes.** Key points together, quiz alone, seven minutes. Close with the opening question: how
# large is a data set of 100,000 rows of eight people?
