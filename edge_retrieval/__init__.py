"""Find the registered designs that look like a drawing, on the device, offline."""

import os

# From 1.29 on, onnxruntime gathers reports on the models it loads for a server of its maker, with
# a device number and a queue in the user's cache. `disable_telemetry_events` is too late for both:
# this has to stand before it is imported, whoever imports it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
