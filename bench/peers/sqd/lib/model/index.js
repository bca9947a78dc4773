/** The entities that squid-typeorm-codegen would make, with the decorators called by hand: this Node runs no decorators. */
const { Column, Entity, Index, PrimaryColumn } = require("typeorm");

class Transfer {
  constructor(values) {
    Object.assign(this, values);
  }
}
class Account {
  constructor(values) {
    Object.assign(this, values);
  }
}

const amount = { type: "numeric", transformer: { to: value => value?.toString(), from: value => (value == null ? value : BigInt(value)) } };
const define = (entity, name, columns) => {
  Entity(name)(entity);
  PrimaryColumn({ type: "text" })(entity.prototype, "id");
  for (const [column, options, indexed] of columns) {
    Column(options)(entity.prototype, column);
    if (indexed) Index()(entity.prototype, column);
  }
};
const text = { type: "text" };
const integer = { type: "int4" };
define(Transfer, "transfer", [
  ["from", text, true],
  ["to", text, true],
  ["amount", amount],
  ["block", integer],
  ["timestamp", { type: "timestamptz" }],
  ["transactionHash", text],
  ["logIndex", integer],
]);
define(Account, "account", [["balance", amount]]);

module.exports = { Transfer, Account };
