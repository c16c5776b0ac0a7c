"""`python -m charlm.native`: one line about the compiled kernels of this installation."""

from charlm.native import VARIANTS, variant, why_missing

if __name__ == "__main__":
    names = [name for name in VARIANTS if variant(name) is not None]
    why = why_missing() or "none of them runs on this processor"
    without = f"no compiled LSTM kernel ({why}): training on a CPU uses torch's, which takes longer"
    print(f"compiled LSTM kernels for this processor: {', '.join(names)}" if names else without)
