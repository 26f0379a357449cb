// orders.js FILE - turns a list of orders into turnover by customer. Standard input: exchange rate and currency.
const fs = require('node:fs');

const orders = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const [rate, currency] = fs.readFileSync(0, 'utf8').trim().split(/\s+/);

const byCustomer = new Map();
for (const { customer, items } of orders) {
  const entry = byCustomer.get(customer) ?? { customer, orders: 0, turnover: 0 };
  entry.orders += 1;
  entry.turnover += items.reduce((sum, { count, price }) => sum + count * price, 0);
  byCustomer.set(customer, entry);
}

const report = [...byCustomer.values()]
  .map((entry) => ({ ...entry, turnover: Math.round(entry.turnover * Number(rate) * 100) / 100, currency }))
  .sort((a, b) => b.turnover - a.turnover);
console.log(JSON.stringify(report, null, 2));
