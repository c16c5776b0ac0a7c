"""`python -m charlm_pipeline` is `charlm`, where the folder of its programs is not known."""

from charlm_pipeline import main

main()
