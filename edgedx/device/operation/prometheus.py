"""A status as metrics, in Prometheus' text format 0.0.4: names and units as its conventions have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def metrics_text(state: Mapping[str, Any]) -> str:
    """The document that `heartbeat.Heartbeat` writes, as metrics. No file name and no patient is in it."""
    lines: list[str] = []

    def add(name: str, kind: str, about: str, *samples: tuple[Mapping[str, str], float]) -> None:
        lines.extend((f"# HELP edgedx_{name} {about}", f"# TYPE edgedx_{name} {kind}"))
        for labels, value in samples:
            pairs = ",".join(f'{key}="{text.translate(_ESCAPED)}"' for key, text in labels.items())
            lines.append(f"edgedx_{name}{{{pairs}}} {value!r}" if pairs else f"edgedx_{name} {value!r}")

    of_status = [key.partition(" ")[::2] for key in state["results"]]
    results = [
        ({"status": status, "code": code}, count)
        for (status, code), count in zip(of_status, state["results"].values(), strict=True)
    ]
    add("results_total", "counter", "Results in the ledger, by status and reason code.", *results)
    add("pending", "gauge", "Received files without a result.", ({}, state["pending"]))
    add("oldest_pending_seconds", "gauge", "Seconds that the first of them has been the first.",
        ({}, state["oldest_pending_seconds"] or 0.0))  # fmt: skip
    add("images_total", "counter", "Images answered by this process.", ({}, state["read_by_this_process"]))
    spent = [({"stage": stage}, value) for stage, value in state["seconds"].items()]
    add("stage_seconds_total", "counter", "Seconds spent by this process, by stage.", *spent)
    failures = [({"sink": sink}, count) for sink, count in state["sink_failures"].items()]
    add("sink_failures_total", "counter", "Results that a further output failed on, by output.", *failures)
    add("disk_free_bytes", "gauge", "Free on the disk of the output folder.", ({}, state["disk_free"]))
    add("disk_floor_bytes", "gauge", "Below this no work is taken.", ({}, state["disk_floor"]))
    add("waiting_for_disk", "gauge", "1 while that is so.", ({}, float(state["state"] == "waiting for disk")))
    add("beat_seconds", "gauge", "When this was written, seconds since the machine started.", ({}, state["at"]))
    labels = {key: str(state[key]) for key in ("model", "bundle", "variant", "provider")}
    add("scanner_info", "gauge", "What is scanning.", (labels, 1.0))
    if (monitor := state.get("monitor")) is not None:
        _add_monitor(add, monitor)
    return "\n".join(lines) + "\n"


def _add_monitor(add: Callable[..., None], monitor: Mapping[str, Any]) -> None:
    """The last look of `edgedx monitor`."""
    light = monitor["light"]
    labels = {"colour": str(light["colour"]), "code": str(light["code"])}
    add("monitor_light", "gauge", "The light that people see: its colour, and why.", (labels, 1.0))
    alarm = float(light["colour"] in ("yellow", "red"))
    add("monitor_alarm", "gauge", "1 while the images or answers have changed.", ({}, alarm))
    add("monitor_window_images", "gauge", "Images of the window that was compared.", ({}, monitor["window"]))
    streams = [({name: str(one[name]) for name in ("stream", "against")}, one) for one in monitor["streams"]]
    for name, about in (("effect", "Change of a stream, 0 to 1."), ("floor", "What sampling alone reaches."),
                        ("p_holm", "Its p-value after Holm.")):  # fmt: skip
        add(f"monitor_stream_{name}", "gauge", about, *[(who, float(one[name])) for who, one in streams])
    for name, about in (("value", "Estimated share of patients by class."), ("low", "Lower end of its interval."),
                        ("high", "Upper end of its interval.")):  # fmt: skip
        shares = [({"class": key}, float(one[name])) for key, one in monitor["prevalence"].items()]
        add(f"monitor_prevalence{'' if name == 'value' else '_' + name}", "gauge", about, *shares)
