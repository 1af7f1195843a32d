"""The words of a report: plain sentences and rows of tables, the same for the page and for its Markdown twin."""

from __future__ import annotations

from collections.abc import Iterator

from edgedx.core.settings.accept import Accept
from edgedx.core.stats.metrics import Interval
from edgedx.core.text import command_line

from .collect import JudgedModel, RunFacts
from .section import Cell, Table

NOT_A_DEVICE = "Research software, not a medical device. Not for diagnosis."
ROWS = {
    "auc_roc": "AUC-ROC",
    "auc_pr": "AUC-PR",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "exact_match": "All findings right",
    "quadratic_kappa": "Agreement of grades (quadratic kappa)",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
}
PER_CLASS = {"sensitivity": "Sensitivity (recall)", "specificity": "Specificity", "precision": "Precision", "f1": "F1"}

_COLUMNS = 3
"""Classes that fit beside one another on a phone."""


def title_of(model: JudgedModel) -> str:
    """``int8-u8s8, 8-bit``."""
    more = {"teacher": "full model", "student": "compressed, 32-bit"}.get(
        model.name, "8-bit" if "int8" in model.name else ""
    )
    return f"{model.name}, {more}" if more else model.name


def shown(facts: RunFacts) -> list[JudgedModel]:
    """Teacher, student and what ships: more columns do not fit a phone, and more lines could not be told apart."""
    return [one for one in facts.models if one.name in ("teacher", "student", facts.shipped.name)]


def summary(facts: RunFacts) -> list[str]:
    """Plain sentences for somebody who reads nothing else."""
    best, teacher = facts.shipped, next(one for one in facts.models if one.name == "teacher")
    texts = []
    if facts.recipe.synthetic:
        texts.append("The images are SYNTHETIC: no figure here says anything about patients.")
    positive = facts.recipe.task.positive
    figures = best.figures
    who = "image" if figures.patients == figures.images else "patient"
    texts.append(
        f"The model {_made_for(facts)} ({title_of(best)}) was judged on {figures.images} "
        f"{facts.split} images"
        + (f" of {figures.patients} patients" if who == "patient" else "")
        + f" that it was not trained with. Its AUC is {in_words(figures.overall['auc_roc'])}; 1 is perfect, 0.5 "
        f"is guessing."
    )
    if positive is not None:
        one = figures.classes[positive]
        texts.append(
            f"Of 100 images with {positive} it misses about {100 * (1 - one['sensitivity'].value):.0f}; of 100 "
            f"without, it "
            f"raises a false alarm on about {100 * (1 - one['specificity'].value):.0f}. Of its alarms here, "
            f"{one['precision'].value:.0%} were right, with {positive} in {one['prevalence'].value:.0%} of the images; "
            "where it is rarer, fewer are."
        )
    else:
        worst = min(figures.classes, key=lambda name: _or_one(figures.classes[name]["sensitivity"].value))
        texts.append(
            f"Its balanced accuracy is {in_words(figures.overall['balanced_accuracy'])}. It is weakest in "
            f"finding {worst}: "
            f"{in_words(figures.classes[worst]['sensitivity'])} of them."
        )
    if facts.lost is not None:
        drop = facts.lost.whole.auc.drop
        verb = "loses" if drop.value >= 0 else "gains"
        low, high = (drop.low, drop.high) if drop.value >= 0 else (-drop.high, -drop.low)
        size = _size_words(teacher, best)
        texts.append(
            f"Against the full model it {verb} {abs(drop.value):.3f} AUC (95 % interval {low:.3f} to {high:.3f}){size}."
        )
    texts.append(gate_sentence(facts))
    if best.parts.gap is not None:
        texts.append(f"By subgroup, {best.parts.gap.sentence[0].lower()}{best.parts.gap.sentence[1:]}.")
    elif facts.cases.subgroups and not any(facts.cases.subgroups):
        texts.append(
            "Subgroups (sex, age, device, site) are not named in this data set: whether it serves all alike is "
            "not known."
        )
    else:
        texts.append("No subgroup was large enough to be judged: whether it serves all alike is not known.")
    return texts


def _made_for(facts: RunFacts) -> str:
    return "in the bundle for devices" if facts.bundle else "that would go onto devices"


def gate_sentence(facts: RunFacts) -> str:
    """What the gate said."""
    verdict = facts.verdict
    if verdict is None:
        return f"The gate was not asked yet: {command_line('gate', facts.run)}"
    passed = "passed" if verdict["passed"] else "did NOT pass"
    ran = str(verdict.get("ran", ""))
    who = "It" if not ran or f"variant {facts.shipped.name}," in ran else f"What was judged then ({ran})"
    first, *more = str(verdict["sentence"]).split("; ")
    rest = f" ({len(more)} more under The gate)" if more else ""
    return f"{who} {passed} the gate on {verdict['split']}: {first}{rest}."


def _size_words(teacher: JudgedModel, best: JudgedModel) -> str:
    one, two = teacher.facts.get("bytes"), best.facts.get("bytes")
    if not one or not two or one <= two:
        return ""
    return f", in {two / 1e6:.1f} MB instead of {one / 1e6:.1f}"


def in_words(value: Interval) -> str:
    """``0.970 (95 % interval 0.954 to 0.982)``."""
    return f"{value.value:.3f} (95 % interval {value.low:.3f} to {value.high:.3f})"


def _or_one(value: float) -> float:
    return value if value == value else 1.0


def side_by_side(facts: RunFacts) -> Table:
    """All models, figure by figure; of a binary task those of the positive class, else macro means."""
    models = shown(facts)
    positive = facts.recipe.task.positive
    rows: list[list[Cell]] = []
    for key, word in ROWS.items():
        if all(key in one.figures.overall for one in models):
            rows.append([word, *(one.figures.overall[key] for one in models)])
    for key, word in PER_CLASS.items():
        label = f"{word}, {positive}" if positive else f"{word}, macro"
        rows.insert(len(rows) - 2, [label, *(_lead(one, key, positive) for one in models)])
    rows.append(["Decides from", *(_threshold_words(one) for one in models)])
    rows.append(["File", *(f"{one.facts['bytes'] / 1e6:.2f} MB" if one.facts.get("bytes") else "-" for one in models)])
    return Table(["", *(one.name for one in models)], rows)


def _lead(model: JudgedModel, key: str, positive: str | None) -> Interval:
    return model.figures.classes[positive][key] if positive else model.figures.overall[f"macro_{key}"]


def by_class(facts: RunFacts) -> Table:
    """Figures of each class of what ships."""
    words = {
        "auc_roc": "AUC-ROC",
        "auc_pr": "AUC-PR",
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "precision": "Precision",
        "f1": "F1",
    }
    figures = facts.shipped.figures
    heads = [f"{name} ({figures.support[name]})" for name in figures.classes]
    macro = {key: figures.overall[f"macro_{key}"] for key in words}
    columns = [*figures.classes.values(), macro]
    if len(heads) <= _COLUMNS:
        rows: list[list[Cell]] = [[word, *(one[key] for one in columns)] for key, word in words.items()]
        return Table(["", *heads, "macro mean"], rows)
    rows = [[head, *(one[key] for key in words)] for head, one in zip([*heads, "macro mean"], columns, strict=True)]
    return Table(["class (images)", *words.values()], rows)


def at_specificity(facts: RunFacts) -> Table:
    """Sensitivity at fixed specificity of what ships."""
    positive = facts.recipe.task.positive
    figures = facts.shipped.figures
    names = [positive] if positive else list(figures.classes)
    keys = [key for key in figures.classes[names[0]] if "_at_specificity_" in key]
    rows: list[list[Cell]] = [[name, *(figures.classes[name][key] for key in keys)] for name in names]
    return Table(["sensitivity for", *(f"at specificity {key.rpartition('_')[2]}" for key in keys)], rows)


def by_subgroup(facts: RunFacts) -> Table | None:
    """AUC of each subgroup before and after compression; None where there is none."""
    if facts.lost is None:
        parts = facts.shipped.parts.subgroups
        rows: list[list[Cell]] = [[f"{one.name} ({one.images})", *one.figures.values()] for one in parts]
        return Table(["subgroup (images)", "AUC", "Sensitivity", "Specificity"], rows) if rows else None
    rows = [
        [f"{part.name} ({part.images})", part.auc.teacher, part.auc.student, part.auc.drop]
        for part in facts.lost.subgroups
    ]
    return Table(["subgroup (images)", "AUC, teacher", f"AUC, {facts.shipped.name}", "lost"], rows) if rows else None


def counts(facts: RunFacts) -> Table:
    """Images by class and split."""
    splits = list(facts.data["splits"])
    rows: list[list[Cell]] = [
        [name, *(str(one.get(split, 0)) for split in splits)] for name, one in facts.data["classes"].items()
    ]
    rows.append(["all images", *(str(facts.data["splits"][split]) for split in splits)])
    return Table(["class", *splits], rows)


def exclusions(facts: RunFacts) -> list[str]:
    """What was left out of the data set, and what it warns of."""
    texts = [f"{count} left out: {reason}" for reason, count in facts.data.get("excluded", {}).items()]
    return [*(texts or ["No image was left out."]), *facts.data.get("warnings", []), *facts.shortcuts.sentences]


def not_judged(facts: RunFacts) -> list[str]:
    """Subgroups that are too small, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in facts.shipped.parts.not_judged:
        by_reason.setdefault(why, []).append(name)
    return [f"Not judged ({why}): {', '.join(names)}" for why, names in by_reason.items()]


def card(facts: RunFacts) -> Iterator[tuple[str, list[str]]]:
    """The model card: heading and items."""
    recipe, best = facts.recipe, facts.shipped
    teacher = next(one for one in facts.models if one.name == "teacher")
    task = recipe.task
    kinds = {"binary": "one finding or not", "multiclass": "one of several", "multilabel": "any number of findings"}
    findings = ", ".join(task.classes)
    yield (
        "Intended use",
        [
            f"{recipe.title}.",
            f"Tells {kinds[task.kind]}: {findings}. A second look for research and evaluation, read together with "
            f"the image.",
        ],
    )
    yield "Accepts, and refuses all else", accepted(recipe.accept)
    yield (
        "Not for",
        [
            NOT_A_DEVICE,
            "Findings other than those above are not looked for. Other ages, devices, sites or views than those "
            "of the data "
            "set below were not judged.",
        ],
    )
    yield (
        "Model",
        [
            f"Full model: {teacher.facts['backbone']}, weights from {teacher.facts['weights_from']}.",
            f"The model {_made_for(facts)}: {title_of(best)}, input {recipe.preprocess.size[0]} "
            f"x {recipe.preprocess.size[1]} pixels, {recipe.preprocess.colour}.",
            "Decides at " + _point_words(best) + ", chosen on the validation split.",
        ],
    )
    data = facts.data
    yield (
        "Data",
        [
            f"{data['images']} images of {data['patients']} patients (where none is named, each image is its "
            f"own), split by patient."
            if data["patients"] < data["images"]
            else f"{data['images']} images; patients are not named, so each image is its own.",
            *(f"Licence of {what}: {licence}" for what, licence in recipe.licences.items()),
        ],
    )
    yield (
        "Limits",
        [
            "Judged on one data set alone. Check it on images of the clinic that will use it: edgedx gate "
            "BUNDLE --data FOLDER.",
            f"Intervals are 95 % bootstrap over "
            f"{'patients' if best.figures.patients < best.figures.images else 'images'} "
            f"({best.figures.resamples} resamples); they tell chance, not differences between clinics.",
            *(["Trained on SYNTHETIC images."] if recipe.synthetic else []),
        ],
    )
    versions = ", ".join(f"{name} {version}" for name, version in facts.made["versions"].items())
    yield "Made with", [versions, f"{facts.made['machine']}; {facts.made['hours_of_all_stages']:.2f} h for all stages"]


_POINTS = {"youden": "Youden's point (greatest sensitivity + specificity)", "argmax": "the likeliest class"}


def _point_words(model: JudgedModel) -> str:
    values = "; ".join(f"{name} from a probability of {value:.3f}" for name, value in model.answers.thresholds.items())
    point = _POINTS.get(model.answers.point, model.answers.point)
    return f"{point}: {values}" if values else _POINTS["argmax"]


def _threshold_words(model: JudgedModel) -> str:
    """A threshold as a table has room for it."""
    values = list(model.answers.thresholds.values())
    if not values:
        return "likeliest class"
    point = model.answers.point.capitalize()
    return f"{values[0]:.3f} ({point})" if len(values) == 1 else point


def accepted(accept: Accept) -> list[str]:
    """Every field of ``accept`` in words, those without a limit too: nobody can see what is not listed."""
    any_ = "any"
    words = {
        "modality": f"Modality: {', '.join(accept.modality) or any_}.",
        "body_part": f"Body part: {', '.join(accept.body_part) or any_}.",
        "view": f"View: {', '.join(accept.view) or any_}.",
        "laterality": f"Side (laterality): {', '.join(accept.laterality) or any_}.",
        "age_years": "Age: any."
        if accept.age_years is None
        else f"Age: {accept.age_years[0]} to {accept.age_years[1]} years.",
        "required": "Header: no field is required; where one is absent it is not checked."
        if not accept.required
        else f"Header: {', '.join(accept.required).replace('_', ' ')} may not be absent, so pictures without a header "
        "are refused.",
        "raster": "Pictures without a header (PNG, JPEG, TIFF, BMP, WebP) are refused."
        if accept.raster == "refuse"
        else "Pictures without a header are answered, and the result says what was not checked.",
        "for_processing": "Raw detector values (FOR PROCESSING) are read too."
        if accept.for_processing
        else "Raw detector values (FOR PROCESSING) are refused.",
        "multi_frame": "Several frames are refused."
        if accept.multi_frame == "refuse"
        else "Of several frames each is answered, and the most suspicious one decides."
        if accept.multi_frame == "each"
        else f"Of several frames the {accept.multi_frame} one is read.",
        "max_saturated": f"At most {accept.max_saturated:.0%} of the pixels black or white.",
        "min_side": f"At least {accept.min_side} pixels on the shorter side.",
        "ood": {
            "refuse": "Images unlike the training images are refused.",
            "flag": "Images unlike the training images are answered, and the result says so.",
            "off": "Whether an image is unlike the training images is not checked.",
        }[accept.ood],
    }
    # A field that is newer than these words is shown as it is written in the recipe.
    return [words.get(name, f"{name.replace('_', ' ').capitalize()}: {value}.") for name, value in accept]
