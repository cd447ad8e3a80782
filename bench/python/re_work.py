"""Regular expressions: searching, groups, substitution with a function, backtracking."""

import re
import sys

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 130

lines = [
    f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}T{i % 24:02d}:{i % 60:02d}:00 "
    f"{('INFO', 'WARN', 'ERROR')[i % 3]} worker-{i % 7} user{i * 37 % 101}@host{i % 9}.example "
    f'"GET /path/{i}/item?id={i * 7919 % 10007}&q=a%20b HTTP/1.1" {200 + i % 5}'
    for i in range(600)
]
text = "\n".join(lines)

stamp = re.compile(r"^(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)T(\d\d):(\d\d)", re.MULTILINE)
address = re.compile(r"\b([a-z]+)(\d+)@([\w.]+)\b")
request = re.compile(r'"(GET|POST) ([^ ?]+)(?:\?([^"\s]*))? HTTP/\d\.\d" (\d{3})$', re.MULTILINE)
greedy = re.compile(r"(?:a|ab|b)*c|worker-(\d)(?=.*user\1)")

checksum = 0
for i in range(ROUNDS):
    total = sum(int(match["m"]) * int(match["d"]) for match in stamp.finditer(text))
    total += len(address.sub(lambda match: f"<{match[3]}:{int(match[2]) + i}>", text))
    total += sum(len(query or "") + int(status) for _, _, query, status in request.findall(text))
    total += sum(1 for line in lines if greedy.search(line))
    total += len(re.split(r"[\s/=&?]+", text))
    checksum = (checksum * 31 + total) % 1_000_000_007
print("re_work", checksum)
