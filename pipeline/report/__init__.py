"""The Word report: its chapters, sentences, figures and formulas.

It takes all numbers from `pipeline.analysis`; only its last function makes bytes of a file, and none writes one.
"""
