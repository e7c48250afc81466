"""A question type: prompt, generation settings, metrics; suites of tasks."""
