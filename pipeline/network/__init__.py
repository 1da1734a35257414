"""The network of the assignment: forward, backward, training, prediction; one network or an ensemble of them.

It imports torch alone: nothing here knows of data sets, files, parameters' files or reports.
"""
