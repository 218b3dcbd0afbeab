# ---
# jupyter:
#   ai4diag:
#     id: m10
#     title: Share and reproduce
#     badge: Steward
#     ambitions: [collaboration]
#     minutes: 90
#     sections:
#       Story: 8
#       Publish a pipeline: 25
#       Pull it and run it again: 17
#       Three answers: 20
#       Why numbers differ: 10
#       Key points: 3
#       Quiz: 7
#     needs: [m05]
#     objectives:
#       - publish a pipeline so that nothing leaves but what is meant to
#       - find the empty fields of a pipeline's page
#       - reproduce a partner's numbers in a clean checkout
#       - explain the exit codes 0, 6 and 9 to a partner
#       - compare two locks and name the cause of a difference
#     data: [wdbc]
#     pipelines: [breast-mass]
#     runs: ["breast-mass --quick"]
# ---

# %%
import json
import re
import shutil

from ai4diag import lab
from ai4diag.config.base import read_yaml
from ai4diag.course import check, start
from ai4diag.course.classroom import build_workspace, copy_run
from ai4diag.pipelines.workspace import Workspace

here = start("m10")
here

# %% [markdown]
# ## Story
#
# Ingrid is 58. A needle took cells from a lump in her breast. In Uppsala a small company, *Cellmark*, has a model
# that gives a second reading of such cells. In Porto another company, *Segunda*, wants to build it into its
# laboratory software. Cellmark states an AUROC close to 1. Segunda asks one question: **do we get that number as
# well?**
#
# A wrong answer costs on both sides. If the number does not hold, malignant masses like Ingrid's may be read as
# benign in laboratories that trusted it. If Segunda cannot find out, a good model is not used at all.
#
# Today you are both companies. First you are Cellmark, and publish. Then you are Segunda, pull, and run it again. In
# class your neighbour, from another company, is Segunda, and you are theirs.
#
# | word | here |
# |---|---|
# | publish | commit a pipeline's folder, and what belongs to it, to a git repository that others can have |
# | pull | get that repository; with it comes no data, and no model |
# | verify | run the commit again in a clean checkout, and compare every estimate with what was stated |

# %% [markdown] tags=["trainer"]
# **Before the day.** Pair people of *different* companies; where there is a hospital in the room, pair it with a
# company. They swap one file, `to-partner.bundle`, on a stick or in a shared folder. Where they may not swap files,
# each plays both parts: the notebook runs as it is.
#
# **Timing.** The three runs take 10 to 20 seconds each on two cores; talk while they run. People who come from lesson
# 7 (segmentation) rather than 5 need two sentences on what an AUROC is.
#
# **Ask first:** "Who has ever been sent a number by a partner and could not get it again? What was missing?" Collect
# on a board: data, version, seed, code, settings. Every item comes back in the lesson.

# %% [markdown]
# ## Publish a pipeline
#
# A **workspace** is a folder with pipelines, dataset cards and a git history. The next cell makes the one of Cellmark
# in `notebooks/work/m10/company`: one pipeline, one commit. Run the cell again whenever you want to begin afresh.

# %%
company, partner = here.folder / "company", here.folder / "partner"
for folder in (company, partner):
    shutil.rmtree(folder, ignore_errors=True)
made = build_workspace(company, Workspace(here.root), pipelines=["breast-mass"], data=["wdbc"])
# !git --no-pager -C {company} log --oneline

# %% [markdown]
# Cellmark runs its pipeline. This is the run whose numbers it will state.

# %%
# !cd {company} && ai4diag run breast-mass

# %%
stated = lab.run("breast-mass", folder=company)
stated

# %% [markdown]
# The table above is what Cellmark states. Each line has a value, an interval, and the number of cases that it rests
# on.
#
# What has the run written? git lists what is new and not ignored:

# %%
# !git -C {company} status --short --untracked-files=all

# %% [markdown]
# Few files, although the run wrote many. The others are in `.gitignore`, for two reasons. Some can be made again
# (model, report). Some must not leave: predictions have a line per patient.
#
# | file | why it is published |
# |---|---|
# | `pipeline.yaml`, `pipeline.py`, `README.md` | what was done, and for whom it is meant |
# | `datasets/*.yaml` | where the data come from, their checksums, their licence; never the data |
# | `out/estimates.json` | the numbers that are stated |
# | `dvc.lock` | the checksum of every input and output of each stage |
# | `dvc.yaml`, `params.yaml` | the stages, and which pipelines there are |
# | `looks.csv` | how often the test part was looked at |
#
# `.gitignore` is a list of what stays. Such a list forgets: a private key in a new folder, a table of patients that
# somebody left beside the recipe. So decide the other way round.
#
# ### Exercise: what is published
#
# Write `published(paths)`. It gets a list of paths, such as `"pipelines/voice-screen/README.md"`, and returns the
# list of those that leave. Publish exactly what the table above names: of a pipeline's folder these five files, of
# `datasets` the cards (`.yaml`), and three files at the top. Everything else stays, also in folders below these.

# %% tags=["exercise:m10.publish"]
# --- solution
TOP = {"dvc.lock", "dvc.yaml", "params.yaml"}
OF_A_PIPELINE = {"pipeline.yaml", "pipeline.py", "README.md", "looks.csv", "out/estimates.json"}


def leaves(path):
    first, _, rest = path.partition("/")
    if first == "datasets":
        return path.endswith(".yaml")
    if first == "pipelines":
        return rest.partition("/")[2] in OF_A_PIPELINE
    return path in TOP
# --- learner
# --- end


def published(paths):
    # --- solution
    return [path for path in paths if leaves(path)]
    # --- end

# %% [markdown] tags=["trainer"]
# **Misconception:** "git ignores what is secret, so `git add .` is safe." **Say:** git ignores what somebody thought
# of. Put a `patients.csv` into the folder of the pipeline and let the room say what `git status` shows. A list of
# what leaves fails on the safe side.
#
# **And:** "I deleted the table, so it is gone." **Say:** git keeps every earlier commit, and a bundle carries them all.
# What was committed once has left with the first bundle; only a new history takes it out of the next one.
#
# Watch for rules such as "everything in `out` stays": then the partner has nothing to compare with. And for
# `endswith("estimates.json")`, which publishes those of the run records and of variants.

# %% [markdown]
# Numbers without words are no use to Segunda. The page of the pipeline, its `README.md`, is what a model card is made
# of. Six fields must say something:

# %%
FIELDS = ["Question", "Input", "Output", "Trained on", "Limits", "Not for"]


def text_of(page, field):
    """Return what stands behind `**Field.**` or below `## Field`; "" when there is no such field."""
    mark = rf"(?:\*\*{field}\.?\*\*|^## {field}$)"
    found = re.search(rf"{mark}(.*?)(?=\*\*[A-Z][a-z ]+\.?\*\*|^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return found[1].strip(" -\n") if found else ""


page = (company / "pipelines/breast-mass/README.md").read_text(encoding="utf-8")
for field in FIELDS:
    print(f"{field:12}{text_of(page, field)[:90]!r} ...")

# %% [markdown]
# ### Exercise: no empty field
#
# Write `open_fields(page)`. It gets the text of a page and returns the list of those `FIELDS` that are **open**: the
# field is not there, or nothing stands behind it, or what stands there begins with `TODO`, with `...` or with
# `*Not written yet` (which `ai4diag new` writes). Use `text_of`.

# %% tags=["exercise:m10.card"]
# --- solution
PLACEHOLDERS = ("TODO", "...", "*Not written yet")
# --- learner
# --- end


def open_fields(page):
    # --- solution
    texts = {field: text_of(page, field) for field in FIELDS}
    return [field for field, text in texts.items() if not text or text.startswith(PLACEHOLDERS)]
    # --- end

# %% [markdown]
# A filled field is not yet a true one. That is what the partner's questions are for.
#
# Now publish: commit the three files by name, and pack the history into one file. A **git bundle** is a repository in
# a file, with all its earlier commits: what was ever committed leaves too, even if it was deleted later. It fits on a
# stick, and needs no server and no internet.

# %%
signature = "-c user.name=Cellmark -c user.email=cellmark@example.org"
# !git -C {company} add dvc.lock pipelines/breast-mass/looks.csv pipelines/breast-mass/out/estimates.json
# !git -C {company} {signature} commit --quiet --message "State the numbers of breast-mass"
bundle = here.folder / "to-partner.bundle"
# !git -C {company} bundle create --quiet {bundle} HEAD main
# !git --no-pager -C {company} log --oneline
print(f"{bundle.name}: {bundle.stat().st_size / 1e3:.0f} kB")

# %% [markdown]
# ## Pull it and run it again
#
# Change chairs: you are Segunda now. **In class**, swap bundles with your neighbour, and put theirs into
# `notebooks/work/m10/` under the name `from-partner.bundle`. Alone, you take your own.

# %%
received = here.folder / "from-partner.bundle"
received = received if received.is_file() else bundle
print("you pull", received.name)

# %% [markdown]
# `ai4diag verify NAME` checks out the latest commit into a clean folder, gets the raw data by their checksums, runs
# `prepare`, `train` and `evaluate` anew, and compares every estimate with the committed ones. Nothing of the stated
# results is taken over.
#
# **It runs the partner's code, on your machine, with your rights.** Clone first (which runs nothing), list what code
# there is, and read it before you run anything. Here it should be one `pipeline.py`; a repository with a `src/ai4diag`
# full of code would bring its own library, too. An [evidence pack](../docs/how-to/evidence-pack.md), in contrast, is
# checked without running any code of others.
#
# ### Exercise: make a partner's numbers again
#
# Clone `{received}` into `{partner}`, list the code in it (`git ls-files`), read its `pipeline.py`, and verify. Define
#
# - `code`: the exit code of `ai4diag verify breast-mass --json > verdict.json`, run in `{partner}` (a whole number);
# - `verdict`: the first item of the list in `verdict.json` (a dict).
#
# In a notebook `!command` runs a command, `{name}` in it stands for a variable, and `_exit_code` is the exit code of
# the last one. git clones into a new folder only: to begin again, first `shutil.rmtree(partner, ignore_errors=True)`.

# %% tags=["exercise:m10.reproduce"]
# --- solution
# !git clone --quiet {received} {partner}
# !git -C {partner} ls-files "*.py"
# !cat {partner}/pipelines/breast-mass/pipeline.py
# !cd {partner} && ai4diag verify breast-mass --json > verdict.json
code = _exit_code
verdict = json.loads((partner / "verdict.json").read_text(encoding="utf-8"))[0]
# --- learner
# # 1. clone: `!git clone ...`   2. list the code: `!git -C ... ls-files "*.py"`   3. show pipeline.py: `!cat ...`
# # 4. verify: `!cd ... && ai4diag verify ...`   5. code: what `_exit_code` holds then   6. verdict: the first item
# --- end

# %%
path = partner / "verdict.json"
for item in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []:
    print(item["subject"], "|", item["verdict"], "|", item["identical"], "of", item["compared"], "identical to the bit")
    print("tolerance", item["tolerance"], "| threads", item["machine"]["threads"], "|", item["machine"]["vectors"])

# %% [markdown]
# Read the lines: *holds* means that all estimates, with their limits, lie within the tolerance of the recipe. On the
# same kind of machine they are the same to the bit. On your neighbour's laptop the last bits may differ, and the
# numbers hold all the same; [reproducibility](../docs/concepts/reproducibility.md) says what changes bits.
#
# Tell your partner in one sentence: which commit, which verdict, on which machine.

# %% [markdown] tags=["trainer"]
# **Misconception:** "The same number again proves that the model is good." **Say:** it proves that the number is that
# of this code and these data. A leak, a biased sample, a wrong label all reproduce to the bit. Ask: what would show
# whether it works in Porto? (Data from Porto: lesson 11.)
#
# Watch the clock of pairs: clone and verify take half a minute. Who is done explains their verdict to the neighbour
# *in the words of a letter to a customer*, without "bit" and "hash".
#
# If a bundle of a neighbour does not verify, rejoice: it is the best case of the day. `notes` in the verdict says
# what differs (packages, processor). The check asks for *holds*: take `from-partner.bundle` away for it, and
# verify your own.

# %% [markdown]
# ## Three answers
#
# | exit code | verdict | what you may say |
# |---|---|---|
# | 0 | holds | every estimate came out again, within the tolerance |
# | 6 | does not hold | some did not; each is named with both values |
# | 9 | cannot be verified | nothing can be said, and why |
#
# **Six.** Before a trade fair somebody at Cellmark makes one number a little nicer: half a sentence of marketing, one
# commit. The file is well-formed and its checksum is that of the commit.

# %%
estimates = company / "pipelines/breast-mass/out/estimates.json"
polished = json.loads(estimates.read_text(encoding="utf-8"))
for item in polished:
    if (item["name"], item["part"]) == ("sensitivity", "test"):
        print(f"sensitivity {item['value']:.3f} becomes {item['value'] + 0.02:.3f}")
        item["value"] += 0.02
estimates.write_text(json.dumps(polished, indent=2) + "\n", encoding="utf-8")
# !git -C {company} {signature} commit --quiet --all --message "Tidy up"
if here.fast:
    print("short mode: not run a third time; exit code 6 would name sensitivity with both values")
else:
    # !cd {company} && ai4diag verify breast-mass
    print("exit code", _exit_code)

# %% [markdown]
# The re-run contradicts the file, and the verdict names the estimate with both values. Had the commit not been run
# again, nothing would have shown it.
#
# **Nine.** A third company sends the *record* of a run, from another repository. Its numbers may be right.

# %%
copy_run(Workspace(here.root), Workspace(company), "breast-mass --quick")
# !cd {company} && ai4diag verify breast-mass --quick
print("exit code", _exit_code)

# %% [markdown]
# The code of that run is in no commit that is here. So nobody can run it, and the honest answer is "I do not know".
# The line names what would help. [When it cannot be verified](../docs/how-to/verify.md#when-it-cannot-be-verified)
# lists the cases.
#
# ### Exercise: holds, does not hold, cannot be verified
#
# Write `exit_code(stated, found, tolerance, known)`, the rule of `verify`, and return 0, 6 or 9.
#
# - `stated` and `found` are dicts: name of an estimate to `{"value": 0.9, "low": 0.85, "high": 0.94, "n": 80}`. Where
#   one is undefined, `value`, `low` and `high` are `None`.
# - `tolerance` is the largest difference that does not count, of value, low and high. Of `n` none is allowed.
# - `known` says whether the code that ran is in a commit that is here.
#
# The same estimates must be in both. Two undefined numbers are equal; an undefined one and a defined one are not.

# %% tags=["exercise:m10.verdict"]
# --- solution
def same(old, new, tolerance):
    if old is None or new is None:
        return old is new
    return abs(old - new) <= tolerance
# --- learner
# --- end


def exit_code(stated, found, tolerance, known):
    # --- solution
    if not known:
        return 9
    if stated.keys() != found.keys():
        return 6
    allowed = {"value": tolerance, "low": tolerance, "high": tolerance, "n": 0}
    pairs = [(stated[name], found[name]) for name in stated]
    agree = all(same(old[key], new[key], most) for old, new in pairs for key, most in allowed.items())
    return 0 if agree else 6
    # --- end

# %% [markdown] tags=["trainer"]
# **Misconception:** "9 is a failure of the partner" or "9 is nearly 0". **Say:** 9 says nothing about the numbers. In
# court: not guilty, guilty, and *no evidence either way* are three verdicts. A pipeline in CI must treat 9 as red.
#
# Typical wrong answers: comparing only the headline; comparing values and not the limits; `found.get(name, old)`, by
# which a missing estimate agrees with itself; looking at the numbers before `known`.
#
# **Discuss:** the tolerance stands in the recipe, which the publisher wrote. Who should choose it, and when? (Before
# the numbers are known; `verify` never takes a larger one than that of the commit.)

# %% [markdown]
# ## Why numbers differ
#
# When they do, do not guess. `dvc.lock` has the checksum of everything that each stage read and wrote, and the
# settings that it used. Two locks side by side name the cause.

# %%
def lock_of(workspace, pipeline):
    """Return {stage: {"inputs": {name: checksum or setting}, "outputs": {name: checksum}}} of a pipeline."""
    stages = read_yaml(workspace / "dvc.lock")["stages"]
    found = {}
    for stage in ("prepare", "train", "evaluate"):
        entry = stages[f"{stage}@{pipeline}"]
        inputs = {item["path"]: item["md5"] for item in entry["deps"]}
        for settings in entry["params"].values():
            inputs |= {f"{block}": value for block, value in settings.items()}
        found[stage] = {"inputs": inputs, "outputs": {item["path"]: item["md5"] for item in entry["outs"]}}
    return found


for stage, entry in lock_of(company, "breast-mass").items():
    print(stage)
    for part, items in entry.items():
        for name, value in items.items():
            print(f"  {part[:-1]:8}{name:46}{str(value)[:48]}")

# %% [markdown]
# The list above shows stage by stage what went in and what came out. What one stage writes the next one reads: when
# the recipe of `train` changes, `predictions.parquet` changes, and with it the input of `evaluate`. That is an
# effect, not a cause.
#
# ### Exercise: read the lock
#
# Write `causes(mine, theirs)`. Both are of the form that `lock_of` returns, with the same names in them. Return the
# list of the names of all **inputs** that differ and that **no stage has written**. Where no such input differs and
# an output does, return `["machine"]`: other hardware, other packages. Where nothing differs, return `[]`.

# %% tags=["exercise:m10.lock"]
def causes(mine, theirs):
    # --- solution
    written = {name for stage in mine.values() for name in stage["outputs"]}
    differ = {
        (part, name)
        for stage in mine
        for part in ("inputs", "outputs")
        for name, value in mine[stage][part].items()
        if theirs[stage][part][name] != value
    }
    found = {name for part, name in differ if part == "inputs" and name not in written}
    return sorted(found) or (["machine"] if differ else [])
    # --- end

# %% [markdown] tags=["trainer"]
# Packages are not in `dvc.lock`. They are in the run's record (`environment.txt`), and `verify` names the first five
# that differ. If there is time, pairs compare the locks of their two workspaces: after an honest run they are equal
# to the bit, although nobody copied a result.
#
# **Close with the pairs:** what do you now want in writing before you build another company's model into your
# product?

# %% [markdown]
# ## Key points
#
# - Publish a list of what leaves: recipe, code, page, card, estimates, lock, ledger. Data, predictions, records and
#   keys stay.
# - A partner needs a commit, the data by checksum, and the numbers that you state. They do not need your model or
#   your trust.
# - `ai4diag verify` runs the commit again in a clean checkout: 0 holds, 6 does not hold, 9 nothing can be said.
# - Only a re-run finds a number that was polished and committed. A number that comes out again can still be a bad
#   one.
# - Verify runs the partner's code: read it first. A signed evidence pack is checked without running any.
# - When numbers differ, compare the locks; the cause is an input that no stage has written.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
