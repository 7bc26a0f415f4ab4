"""What would have happened without a span: spans -> counterfactuals -> answer log-probabilities."""
