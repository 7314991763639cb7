"""The screens above the dashboard: help, prompts, choices and the preview of a plan."""
