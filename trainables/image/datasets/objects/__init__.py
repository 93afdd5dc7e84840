"""Images with annotated objects: every format becomes one form, and one place makes the views of it."""
