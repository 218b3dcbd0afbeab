# ---
# jupyter:
#   ai4diag:
#     id: m12
#     title: Evidence for the regulator
#     badge: Steward
#     ambitions: [services, collaboration]
#     minutes: 120
#     sections:
#       Story: 8
#       Intended use: 20
#       Risks: 15
#       Subgroups: 15
#       Claims: 20
#       Changes: 15
#       Incidents: 17
#       Key points: 3
#       Quiz: 7
#     needs: [m04, m10]
#     objectives:
#       - write an intended use that somebody can check
#       - trace each risk to a measure and to a number in a run
#       - check that a report by subgroup has n and interval for every group
#       - flag a claim that no run supports
#       - decide by a change plan, and act by an incident plan
#     data: [uci_heart]
#     pipelines: [heart-disease]
# ---

# %%
import math
import re
import shutil

from ai4diag import lab
from ai4diag.config.base import read_yaml
from ai4diag.course import check, start
from ai4diag.course.classroom import build_workspace
from ai4diag.files import write_json
from ai4diag.pipelines.workspace import Workspace

here = start("m12")
here

# %% [markdown]
# ## Story
#
# Rosa is 67. She came with an odd pressure in her back. The model said: unlikely to be the heart. It was the heart.
# Nobody had lied; but in the brochure one sensitivity stood for everybody, and women on no line.
#
# You are a company of six with a model for coronary disease. Today the questions come that a regulator, a hospital or
# Rosa's daughter will ask:
#
# 1. What is it for, and for whom is it not?
# 2. What can go wrong, and what did you do about it?
# 3. For whom does it work less well?
# 4. Which run says so?
# 5. What if you change it?
# 6. What if it fails?
#
# You will answer with **evidence**: numbers that somebody else can make again, and sentences that people vouch for.
# What you have at the end is no approval and no proof that a law is met. That is decided by others, on more than a
# run. This lesson is not legal advice.

# %% [markdown] tags=["trainer"]
# **Say at the start, and at the end:** evidence, never compliance. When somebody asks "so are we compliant then?",
# the answer is: "You can now show what you know and what you don't. Ask somebody who may judge the rest."
#
# **Pairs:** a company and, where possible, a hospital, or two companies. In each section one is the manufacturer and
# one the reviewer; they swap. The reviewer's only question is "where does that come from?".
#
# **Timing.** Break after "Subgroups". The commands take 5 to 15 seconds each. Who is late only
# reads the table of risks aloud, and takes the exercise on the risk trace home: claims repeat its rule.

# %% [markdown]
# ## Intended use
#
# First the run that everything will rest on, in a workspace of the company: a git repository with one commit, as in
# lesson 10.

# %%
company, keys = here.folder / "company", here.folder / "keys"
for folder in (company, keys, here.folder / "pack"):
    shutil.rmtree(folder, ignore_errors=True)
made = build_workspace(company, Workspace(here.root), pipelines=["heart-disease"], data=["uci_heart"])
words = "heart-disease --quick" if here.fast else "heart-disease"
# !cd {company} && ai4diag run {words}

# %%
run = lab.run(words, folder=company)
rows = run.table().to_dict("records")
run

# %% [markdown]
# An **evidence pack** holds what this run can show: predictions, estimates, report, model card, checklists, and the
# nine headings of Annex IV of the AI Act. What a run cannot know it marks as open.
#
# The predictions are a line per patient: a number for a name, with hospital, sex and age band. These are published
# data. A pack about patients of your own can still be personal data: ask the hospital's data protection officer
# before it leaves.

# %%
pack, run_id = here.folder / "pack", run.record.run_id
# !cd {company} && ai4diag evidence build {run_id} --out {pack}
open_questions = read_yaml(pack / "to-supply.yaml")
print(len(open_questions), "questions are open. The first five:", list(open_questions)[:5])
print((pack / "to-supply.yaml").read_text(encoding="utf-8")[:900])

# %% [markdown]
# The **intended use** is the sentence on which everything else hangs: a risk is a risk *of that use*, a subgroup is
# one *of those patients*. The page of the pipeline has a part of it. The rest only people can say.
#
# ### Exercise: the intended use, in answers
#
# Define `answers`, a dict: key of an open question to your answer, a text. Answer at least `target_population` (say
# also for whom it is **not**), `intended_users`, `clinical_context` and `setting`, each in a whole sentence (60
# characters or more, of eight different words or more). Other keys of `to-supply.yaml` are welcome. No placeholder
# such as TODO. And promise nothing: words such as *certified*, *compliant*, *approved*, *guaranteed*, *always*, *safe*
# or *replaces* are no answers ("does not replace" is one). Read your neighbour's
# before you sign: would they know whether Rosa is meant?

# %% tags=["exercise:m12.answers"]
# --- solution
answers = {
    "target_population": "Adults with chest pain who are considered for coronary angiography in a hospital; not for "
    "people in general practice, and not after a heart attack.",
    "intended_users": "Cardiologists who decide about angiography, with an hour of training on what the output means "
    "and on its limits for women.",
    "clinical_context": "Today the decision rests on history, electrocardiogram and exercise test; the output is one "
    "more reading beside them, seen after the doctor's own.",
    "setting": "Cardiology departments of hospitals that measure all ten findings; the data are of four hospitals of "
    "the 1980s.",
}
# --- learner
# answers = {
#     "target_population": "",
#     "intended_users": "",
#     "clinical_context": "",
#     "setting": "",
# }
# --- end

# %% [markdown]
# Now build the pack again with your answers, and sign it. Who signs vouches for every answer. JSON is YAML, too.

# %%
supplied = here.folder / "answers.yaml"
write_json(supplied, answers)
# !ai4diag keys make --out {keys}
# !cd {company} && ai4diag evidence build {run_id} --out {pack} --supplied {supplied} --key {keys}/ai4diag-private.pem
print(len(read_yaml(pack / "to-supply.yaml")), "questions are still open")
print(re.search("^- Users:.*$", (pack / "model-card.md").read_text(encoding="utf-8"), re.MULTILINE)[0])

# %% [markdown]
# The last line is from the model card: your words, marked as *yours*, not as the run's. What you left open stands
# there as open. [Answer what a run cannot know](../docs/how-to/supply-answers.md) has the details.

# %% [markdown] tags=["trainer"]
# **Misconception:** "An empty field looks bad, so we write something." **Say:** an open question is honest and cheap.
# A made-up answer is signed by you, and is found in the first audit.
#
# The check reads form, not sense: it cannot know whether an answer is true. The neighbour can. Give five minutes for
# reading aloud: "for whom is it *not*?" is the line that most forget.

# %% [markdown]
# ## Risks
#
# A risk trace is a table: what can happen, what you did about it, and which number shows that it helped. A gap in a
# line is found by reading it from left to right.
#
# | hazard | measure | evidence in the run | at least |
# |---|---|---|---|
# | ill patients are sent home | threshold fixed beforehand | `sensitivity`, all | 0.70 |
# | women are missed | tested apart | `sensitivity`, `sex=female` | 0.70 |
# | too many are sent to angiography | threshold fixed beforehand | `specificity`, all | 0.70 |
# | useless at a new hospital | | | |
#
# ### Exercise: the risk trace has no gap
#
# Write `open_risks(risks, rows)` and return a dict: hazard to its first gap, for the risks that have one.
#
# - Each of `risks` is a dict with `hazard`, `measure` (a text), `evidence` (name of an estimate, or `None`),
#   `subgroup` and `at_least`.
# - `rows` is the table of a run as a list of dicts (`name`, `part`, `subgroup`, `value`, `low`, `high`, `n`).
# - `"no measure"`: the text is empty or blank. `"no evidence"`: no row of the part `test` has this name and subgroup,
#   or its `low` is NaN. `"not shown"`: `low` is below `at_least`.

# %% tags=["exercise:m12.trace"]
# --- solution
def row_of(rows, name, subgroup):
    fitting = [row for row in rows if (row["name"], row["part"], row["subgroup"]) == (name, "test", subgroup)]
    return fitting[0] if fitting and not math.isnan(fitting[0]["low"]) else None


def gap(risk, rows):
    row = row_of(rows, risk["evidence"], risk["subgroup"])
    if not risk["measure"].strip():
        return "no measure"
    if row is None:
        return "no evidence"
    return "" if row["low"] >= risk["at_least"] else "not shown"
# --- learner
# --- end


def open_risks(risks, rows):
    # --- solution
    return {risk["hazard"]: gap(risk, rows) for risk in risks if gap(risk, rows)}
    # --- end

# %%
fixed, apart = "threshold fixed beforehand", "tested apart"
risks = [
    ("ill patients are sent home", fixed, "sensitivity", "all", 0.70),
    ("women are missed", apart, "sensitivity", "sex=female", 0.70),
    ("too many are sent to angiography", fixed, "specificity", "all", 0.70),
    ("useless at a new hospital", "", None, "all", 0.0),
]
risks = [dict(zip(("hazard", "measure", "evidence", "subgroup", "at_least"), risk, strict=True)) for risk in risks]
for hazard, found in open_risks(risks, rows).items():
    print(f"{hazard}: {found}")

# %% [markdown]
# The lines above are what is open in our trace. A gap is no disgrace: it is the list of what to do next, and what the
# instructions for use must say until then. A trace without gaps on a first day is the suspicious one.

# %% [markdown] tags=["trainer"]
# **Misconception:** "The estimate is above the limit, so the risk is closed." **Say:** the *lower limit* must be
# above. The estimate for women may look good and rest on so few ill women that nearly anything is possible.
#
# Ask for a hazard that no estimate can close (somebody trusts the number and no longer asks Rosa). Its measure is
# training and wording, and its evidence a study with users.

# %% [markdown]
# ## Subgroups
#
# The recipe names `subgroups: [site, sex, age_band]`, so that the run has estimates for each, with n and interval,
# and the difference to all others.

# %%
table = run.table()
mine = table[(table["name"] == "sensitivity") & (table["part"] == "test")]
mine[["subgroup", "n", "value", "low", "high", "note"]].round(2)

# %% [markdown]
# One line per group: how many, the share of the ill who were found, the interval. Sensitivity rests on the *ill*
# patients alone; of the women few are ill, and their interval is wide.
#
# ### Exercise: each group with n and interval
#
# You get somebody's report by subgroup. Write `faults(report, groups)` and return a dict: group to its fault, for the
# groups that have one.
#
# - `report` is a list of dicts with `group`, `n`, `value`, `low`, `high`; what is not said is `None`.
# - `groups` is a dict: every group of the data to its number of patients.
# - In this order: `"missing"`, the group has no line; `"no n"`, `n` is not that of the data.
# - Then, of fewer than 10 patients: `"too few"`, when a value stands. Without a value the line is masked, and no fault.
# - Of 10 or more: `"no value"`, the value is `None`; `"no interval"`, `low` or `high` is `None`, or not `low <= value
#   <= high`.

# %% tags=["exercise:m12.subgroups"]
# --- solution
def fault(line, n):
    if line is None:
        return "missing"
    if line["n"] != n:
        return "no n"
    if n < 10:
        return "" if line["value"] is None else "too few"
    if line["value"] is None:
        return "no value"
    if line["low"] is None or line["high"] is None:
        return "no interval"
    return "" if line["low"] <= line["value"] <= line["high"] else "no interval"
# --- learner
# --- end


def faults(report, groups):
    # --- solution
    lines = {line["group"]: line for line in report}
    found = {group: fault(lines.get(group), n) for group, n in groups.items()}
    return {group: what for group, what in found.items() if what}
    # --- end

# %%
of_sex = [row for row in rows if row["name"] == "sensitivity" and row["subgroup"].startswith("sex=")]
groups = {row["subgroup"]: row["n"] for row in of_sex}
brochure = [{"group": "sex=male", "n": None, "value": 0.8, "low": None, "high": None}]
run_report = [{"group": row["subgroup"]} | {key: row[key] for key in ("n", "value", "low", "high")} for row in of_sex]
print("a brochure:", faults(brochure, groups))
print("the run:   ", faults(run_report, groups))

# %% [markdown] tags=["trainer"]
# **Misconception:** "No difference was found between women and men, so it is fair." **Say:** with so few ill women no
# difference *could* have been found. Absence of evidence; the interval shows how much is possible.
#
# Somebody will ask why 10 here and 5 in lesson 11. Here a number that rests on fewer says nothing; there a count under
# 5 is about somebody. Who publishes a report by subgroup keeps both: a group of 3 has no line of its own.
#
# **Discuss:** which group of *your* patients is in no column of these data (origin, income, language)? What do you
# write?

# %% [markdown]
# ## Claims
#
# Every number in a brochure, a page or a slide is a claim. It needs a **link**: which run, which estimate, which
# patients. And it must be one that the run *supports*: the lower limit of the interval reaches what is claimed.
#
# ### Exercise: no claim without a run
#
# Write `unsupported(claims, runs)` and return the list of the texts of all claims that are not supported.
#
# - Each of `claims` is a dict with `text`, `run` (an id; empty when there is none), `estimate`, `subgroup` and
#   `at_least`.
# - `runs` is a dict: id of a run to its rows, as above.
# - Supported means: the run is there, has a row of the part `test` with this name and subgroup, and its `low` reaches
#   `at_least`.

# %% tags=["exercise:m12.claims"]
# --- solution
def supported(claim, runs):
    return any(
        row["low"] >= claim["at_least"]  # never so where low is NaN
        for row in runs.get(claim["run"], [])
        if (row["name"], row["subgroup"], row["part"]) == (claim["estimate"], claim["subgroup"], "test")
    )
# --- learner
# --- end


def unsupported(claims, runs):
    # --- solution
    return [claim["text"] for claim in claims if not supported(claim, runs)]
    # --- end

# %%
claims = [
    ("Ranks 8 of 10 pairs rightly", run_id, "auroc", "all", 0.80),
    ("Finds 4 of 5 patients with disease", run_id, "sensitivity", "all", 0.80),
    ("As good in women as in men", "", "sensitivity", "sex=female", 0.75),
    ("Ranks 8 of 10 pairs rightly in Long Beach", run_id, "auroc", "site=va", 0.80),
]
claims = [dict(zip(("text", "run", "estimate", "subgroup", "at_least"), claim, strict=True)) for claim in claims]
flagged = unsupported(claims, {run_id: rows})
for claim in claims:
    print("UNSUPPORTED" if claim["text"] in flagged else "supported  ", "|", claim["text"])

# %% [markdown]
# What is flagged must be reworded ("found so many in a hundred, with the interval, of patients like these") or
# dropped. Now let a third party check what stands behind it. They need the pack and your public key, nothing else: no
# data, no model, no trust.

# %%
if here.fast:
    print("short mode: `ai4diag promote`, below, verifies the pack as well, and refuses one that does not hold")
else:
    # !ai4diag evidence verify {pack} --public-key {keys}/ai4diag-public.pem
    pass

# %% [markdown]
# Every line with *ok* was recomputed or compared. The *note* says what is merely stated. With a pack that verifies, a
# gate that holds, and somebody's name, a run may become `staging`:

# %%
public = keys / "ai4diag-public.pem"
# !cd {company} && ai4diag promote {run_id} --to staging --by "Ada Example" --pack {pack} --public-key {public}

# %% [markdown] tags=["trainer"]
# **Swap packs in pairs:** each verifies the other's with the key whose fingerprint they were told *by mouth*. Then
# change one digit in the report of a copy, and verify again (exit code 6; it names file and number).
#
# **Misconception:** "Promoted means approved." **Say:** it is an alias in a registry, with a name beside it. The
# command refuses what has no evidence; it approves nothing.

# %% [markdown]
# ## Changes
#
# Tomorrow you have a better model. A **change plan**, written *before*, says what may change without starting anew,
# and what must then still hold. It is worth something only because it was written before the result was known.
#
# ### Exercise: a change within the plan
#
# Write `decide(change, plan)` and return `"new assessment"`, `"refuse"` or `"release"`.
#
# - `plan` has `may_change`, a dict: setting to `[smallest, largest]` (both allowed); `gate`, what the lower limit of
#   the AUROC must reach; `margin`, by how much the new model may be worse at most.
# - `change` has `settings`, a dict: setting to its new value; `low`, the lower limit of the new AUROC; `difference`,
#   a dict with `value`, `low`, `high` of new minus old on the same patients.
# - A setting that is not in `may_change`, or outside of its range: `"new assessment"`, whatever the results. Else,
#   when the gate is not reached, or the difference may be below `-margin` (its `low`): `"refuse"`. What is undefined
#   (NaN) shows nothing: `"refuse"`. Else `"release"`.

# %% tags=["exercise:m12.change"]
# --- solution
def foreseen(name, value, plan):
    if name not in plan["may_change"]:
        return False
    smallest, largest = plan["may_change"][name]
    return smallest <= value <= largest
# --- learner
# --- end


def decide(change, plan):
    # --- solution
    if not all(foreseen(name, value, plan) for name, value in change["settings"].items()):
        return "new assessment"
    good = change["low"] >= plan["gate"] and change["difference"]["low"] >= -plan["margin"]
    return "release" if good else "refuse"
    # --- end

# %% [markdown]
# `ai4diag compare A B --margin 0.02` gives the difference with its interval, on the cases that both answered; the
# gate is `evaluate.accept` in the recipe, and `promote` refuses what does not reach it. Every new look at the same
# test part flatters a little more: the run counts the looks.

# %% [markdown] tags=["trainer"]
# **Ask:** may the *threshold* be in the plan? (It can, if its effect was foreseen. It changes who is sent home.) And
# new training data from the same hospitals? From a new one?
#
# Teams that retrain weekly often have no plan at all. Let them write three lines now: what, how far, what must hold.

# %% [markdown]
# ## Incidents
#
# The model is in use. Some months later outcomes come in: how many were ill, and how many of those the model had
# found. Small numbers jump; an alarm each month is ignored by the third. So look at three months together, and at the
# interval:

# %%
def interval(k, n):
    """Return Wilson's 95 % interval of k of n (n > 0), as in lesson 11."""
    z, p = 1.96, k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]


print("1 of 3 found: ", [round(x, 2) for x in interval(1, 3)])
print("30 of 90 found:", [round(x, 2) for x in interval(30, 90)])

# %% [markdown]
# Both found one third of the ill. Only the second rules out that 70 % are found.
#
# ### Exercise: notice it, and not too often
#
# Write `first_alarm(months, promised)`. `months` is a list of dicts with `month` (a text), `found` and `ill`
# (counts), in order. For each month take it and the two before it together (at the start fewer). The first month in
# which the **upper** limit of the interval of `found` of `ill` lies below `promised` raises the alarm: return its
# `month`. No ill patients, no alarm. Return `None` when there is none.

# %% tags=["exercise:m12.incident"]
def first_alarm(months, promised):
    # --- solution
    for last in range(len(months)):
        window = months[max(0, last - 2) : last + 1]
        found, ill = sum(item["found"] for item in window), sum(item["ill"] for item in window)
        if ill and interval(found, ill)[1] < promised:
            return months[last]["month"]
    return None
    # --- end

# %% [markdown]
# **The drill.** It is Friday, five o'clock, and your function has raised the alarm. In pairs, with a watch, ten
# minutes:
#
# | minute | do | with |
# |---|---|---|
# | 0 | take it out of use | `ai4diag demote` |
# | 2 | say which run it was, and what it was bound to | the run's record, the pack |
# | 4 | name the patients who may be concerned, and who tells their doctors | the hospital's list, not yours |
# | 6 | write down what is known, what is not, who was told when | a page with times |
# | 8 | decide who looks for the cause, and what must hold before it returns | the change plan |
#
# The first step, now:

# %%
reason = "Drill: sensitivity below the promised one, three months together"
# !cd {company} && ai4diag demote heart-disease --from staging --by "Ben Example" --reason "{reason}"

# %% [markdown]
# The alias is gone; version, names, reason and times stay. `ai4diag models heart-disease`, in a terminal in the
# folder `company`, shows the whole history. Nothing in it can be taken back, which is its worth.

# %% [markdown] tags=["trainer"]
# Stop the clock in the drill, and ask a pair at random: "Which patients? Who calls them?" Most have an answer for the
# model and none for the people. That is what to take home.
#
# What an incident is in law, and whom to tell within how many days, depends on product and country: ask who knows.
#
# **Close with Rosa.** Which of the six answers would have helped her? Each person says one sentence.

# %% [markdown]
# ## Key points
#
# - The intended use comes first; risks, groups and claims are those of that use. Open questions stay open.
# - A risk leads to a measure, and the measure to a number in a run. A gap is work to do, or words in the
#   instructions.
# - A report by subgroup has every group, each with n and interval; few patients are masked.
# - A claim links to a run, and its lower limit reaches what is claimed. Else it is flagged.
# - A change plan is written before the result. What it does not foresee needs a new assessment.
# - In an incident: first patients, then causes. All of this is evidence; whether it suffices, others decide.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
