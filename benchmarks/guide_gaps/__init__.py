"""How far guides that are made from a model stay below the evidence."""
