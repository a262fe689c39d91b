"""Who a node is, what a share's secret gives, and how membership is proved."""
