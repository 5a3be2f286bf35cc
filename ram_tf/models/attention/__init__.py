"""The recurrent attention: from a feature map to K regions and their scores.

Start reading at `recurrent_attention` (ICCV 2017), then `spatial_transformer` and
`region_lstm`; the agent of the AAAI 2018 paper is in `reinforced_attention`.
"""
