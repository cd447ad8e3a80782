"""A bank to be debugged: `bank.py ROUNDS` moves money between 200 accounts, and is wrong once.

On the side it writes statements as JSON and reads them with regular expressions. At 60 % of the run one addition is
wrong, so the books do not balance in the end. What a debugger is asked about:

    bank.moves          changes with every transfer: a million times in some minutes
    bank.rules.limit    is set at 1 % of the run and never again; nobody touches the object in between
    bank.accounts[0]    is worked on all the time, but its .kind is set at 1 % of the run and never again
"""

import json
import re
import sys

ACCOUNTS = 200
TRANSFERS = 400
OPENING = 10_000

amount_of = re.compile(r'"amount": (-?\d+)')


class Rules:
    def __init__(self):
        self.limit = 500


class Account:
    def __init__(self, number):
        self.number = number
        self.name = f"customer {number * 7919 % 1009}"
        self.kind = "new"
        self.balance = OPENING
        self.entries = []

    def add(self, amount):
        self.balance += amount
        self.entries.append({"amount": amount, "balance": self.balance})
        if len(self.entries) > 20:
            del self.entries[:10]

    def statement(self):
        return json.dumps({"name": self.name, "entries": self.entries})


class Bank:
    def __init__(self):
        self.rules = Rules()
        self.accounts = [Account(number) for number in range(ACCOUNTS)]
        self.moves = 0
        self.state = 1

    def chance(self, below):
        self.state = (self.state * 1103515245 + 12345) % 2147483648
        return (self.state >> 8) % below

    def transfer(self, source, target, amount):
        if amount > self.rules.limit or source is target:
            return
        source.add(-amount)
        target.add(amount)
        self.moves += 1

    def day(self):
        for _ in range(TRANSFERS):
            source = self.accounts[self.chance(ACCOUNTS)]
            target = self.accounts[self.chance(ACCOUNTS)]
            self.transfer(source, target, self.chance(400))

    def audit(self):
        account = self.accounts[self.chance(ACCOUNTS)]
        text = account.statement()
        told = [int(match[1]) for match in amount_of.finditer(text)]
        assert told == [entry["amount"] for entry in json.loads(text)["entries"]]


def main(rounds):
    bank = Bank()
    for turn in range(rounds):
        if turn == rounds // 100:
            bank.rules.limit = 600
            bank.accounts[0].kind = "regular"
        bank.day()
        for _ in range(10):
            bank.audit()
        if turn == rounds * 6 // 10:
            bank.accounts[117].balance += 1
    total = sum(account.balance for account in bank.accounts)
    assert total == ACCOUNTS * OPENING, f"there is {total - ACCOUNTS * OPENING} too much"


main(int(sys.argv[1]))
