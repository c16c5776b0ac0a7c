"""What programs written for Flair import from `nn.model`."""

from charlm.nn import __getattr__ as __getattr__
