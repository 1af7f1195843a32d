"""A model in service learns from what clinics answered, and is judged before it may replace itself."""
