"""Photos a user has: labelled ones that judge a model, plain ones that calibrate it. Nothing is downloaded."""
