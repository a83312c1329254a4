"""First models as people write them, with their exact evidences."""
