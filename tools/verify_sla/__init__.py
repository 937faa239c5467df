"""核验服务等级月报的导出包 (verify the export of a monthly SLA report): `python3 verify_sla.pyz EXPORT.zip`.

Needs Python 3.11 and nothing else: no package of the product, no network. It proves the chain of every row, the
signature of every day, computes every clock and every percentage again, and names the first row that is wrong.
`--key` takes the public key that was handed over on paper, `--head` a chain value that was noted earlier: with both,
nobody can present another past, an older state or a shortened one. Meaning of the numbers: docs/sla.md.
"""
