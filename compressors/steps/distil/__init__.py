"""What a student learns from a teacher: the losses, and the layers they look at."""
