"""The panes: each draws one part of a `Scene` on a canvas and answers presses."""
