"""The contract: what was promised, the clocks, availability, the monthly report and its proof."""
