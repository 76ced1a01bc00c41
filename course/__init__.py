"""minidl's course: ten chapters, their exercises, solutions, and checks of answers."""
