"""What is trained between an input and a task, a file a method."""
