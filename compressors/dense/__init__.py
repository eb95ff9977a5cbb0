"""Answers for places in the image: boxes and masks, what is learnt from them and how they are judged."""
