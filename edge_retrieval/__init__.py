"""Find the registered designs that look like a drawing, on the device, offline."""

__version__ = "0.1.0"
