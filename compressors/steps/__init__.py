"""What makes a model small. A step takes a model or a file and gives one, and says so when it changed nothing."""
