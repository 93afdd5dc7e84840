"""Pictures with annotated objects: one form for every format, and one place that makes views of it."""
