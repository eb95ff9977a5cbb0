"""Data a user has: labelled sets that train and judge a model, plain photos that calibrate it. Nothing is downloaded.

``dataset`` says what a data set is, ``sources`` opens one (IDX, CIFAR's binary version, a folder per class),
``batches`` feeds a model from it: in a deterministic order, augmented, normalised.
"""
