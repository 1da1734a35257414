"""The data sets: where they come from, how they are fetched and verified, split and standardised.

Nothing here knows of networks or reports.
"""
