"""What this tool costs, and how good it is, on this very device: raw samples kept.

`bench(register, sheets, settings)` returns a `Report` (see `edge_retrieval.report`). What it may
hold, by name; what tells measurements of one name apart stands in `{}`. Whatever could not be
measured is absent, and a note says why. `at` is in seconds since the bench began, one per sample.

CONTESTANT stands for `{bundle, precision, backend, threads}`: name of the bundle, "fp32" | "fp16" |
"int8", "onnx" | "openvino", threads of the encoder. Contestants are measured in turn, round by
round. The one that a search here would use is the first, and named by the settings of the report.

name             unit  labels and meaning
cold_start       s     {what}: a fresh process, from its start to its end, one sample a process.
                       "python" starts and ends; "import" also loads what a search loads; "search"
                       is `edge-ret search DRAWING --json` with everything.
latency          s     CONTESTANT + {stage}: one drawing at a time, one sample a search. "decode"
                       file to pixels, "cut" to figures, "fit" to the encoder's input, "embed",
                       "search", "print" to JSON, and their sum "total".
throughput       1/s   CONTESTANT + {batch}: figures embedded a second, one sample a batch.
                       The only measurement of more than one number of threads.
memory           B     {part, kind}: one sample a fresh process. Kind "rss" (resident) and "pss"
                       (shared pages counted in parts; Linux only): what this part ADDS to those
                       before it, in the order "interpreter", "runtime", "model", "register": their
                       sum is the whole, so they can be stacked. Kind "peak": the most that a
                       process ever held which loaded this part and those before it: not to be
                       stacked.
quality          1     {bundle, precision, backend, metric, level}: "mAP", "hit_rate@1",
                       "hit_rate@5", "recall@10", each of figures among one another, a share of 1;
                       one sample. Only with data.
search_cost      s     {figures, index}: one query among so many made vectors. Index "exact"
                       compares all, "first pass" is what a register of that size does and as exact,
                       "graph" is nearly exact.
search_memory    B     {figures, index}: what a fresh process that has answered such queries holds
                       resident beyond what it held before it opened the vectors.
energy           J     CONTESTANT + {domain}: of one search, what the domain ("package-0", a hwmon
                       chip) used while one contestant searched; one sample a stretch.
power            W     {domain, doing}: "idle" and "search", one sample a stretch.
sustained        s     CONTESTANT, at: totals of searches that follow one another without a pause.
temperature      degC  {sensor}, at: hottest sensor of the processor, during `sustained`.
clock            Hz    {}, at: mean of the cores, during `sustained`.
throttled        1     {counter}, at, during `sustained`: "now" 1 where the board says that it slows
                       itself down (Raspberry Pi), else 0; "events" how often a processor has done
                       so since the sustained run began.
noise.reference  s     {}, at: a small fixed computation, between all others, through the whole
                       bench: on a quiet machine all its samples are alike.
noise.others     1     {}, at: share of all cores' time that other processes took since the sample
                       before.

Settings: "bundle", "precision", "backend", "threads" of the first contestant; "fingerprint" and
"size" of its bundle; "figures", "designs" of the register, "sample" (whether it is the one that
ships); "k"; "drawings"; "quick", "parts"; "seconds" that all took; "data" (the source's name).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_retrieval.bench.comparing import Change, compare
    from edge_retrieval.bench.running import bench
    from edge_retrieval.bench.settings import PARTS, BenchSettings

__all__ = ["PARTS", "BenchSettings", "Change", "bench", "compare"]

_WHERE = {
    "PARTS": "settings",
    "BenchSettings": "settings",
    "Change": "comparing",
    "bench": "running",
    "compare": "comparing",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a fresh process whose memory is weighed loads this package, too.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"edge_retrieval.bench.{_WHERE[name]}"), name)
