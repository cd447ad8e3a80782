"""JSON in both directions: indented and sorted, compact, and parsed again."""

import json
import sys

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 110
RECORDS = 400


def document(seed):
    return {
        "seed": seed,
        "records": [
            {
                "id": i,
                "name": f"näme {i * seed % 977}",
                "tags": [f"t{i % k}" for k in (2, 3, 5, 7)],
                "score": i * 1.25 + seed,
                "nested": {"flag": i % 2 == 0, "none": None, "text": 'quote " and \\ and \n'},
            }
            for i in range(RECORDS)
        ],
    }


checksum = 0
for i in range(ROUNDS):
    text = json.dumps(document(i), indent=1, sort_keys=True)
    back = json.loads(text)
    compact = json.dumps(back, separators=(",", ":"), ensure_ascii=False)
    total = sum(record["id"] + int(record["score"]) for record in back["records"])
    checksum = (checksum * 31 + len(text) + len(compact) + total) % 1_000_000_007
print("json_work", checksum)
