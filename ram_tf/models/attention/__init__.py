"""The recurrent attention: from a feature map to K regions and their scores.

Start reading at `recurrent_attention` (ICCV 2017), then `spatial_transformer` and
`region_lstm`. The AAAI 2018 paper's agent is `reinforced_attention`, and the sizes of
its regions `region_scales`.
"""
