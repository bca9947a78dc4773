import { encodeRlp, type RlpStructuredDataish, toBeHex } from "ethers";

/** A mined transaction as JSON-RPC gives it; every quantity is hexadecimal. */
export type RpcTransaction = {
  type: string;
  hash: string;
  from: string;
  to: string | null;
  nonce: string;
  gas: string;
  value: string;
  input: string;
  chainId?: string;
  gasPrice?: string;
  maxFeePerGas?: string;
  maxPriorityFeePerGas?: string;
  accessList?: { address: string; storageKeys: string[] }[];
  authorizationList?: { chainId: string; address: string; nonce: string; yParity?: string; v?: string; r: string; s: string }[];
  v: string;
  r: string;
  s: string;
};

/**
 * The signed bytes of a mined transaction of type 0, 1, 2 or 4, put together again: the chain offers no method that
 * returns them. Throws a TypeError for another type. https://eips.ethereum.org/EIPS/eip-2718
 */
export function rawTransaction(transaction: RpcTransaction): string {
  const { to, input, r, s } = transaction;
  const common = [transaction.gas, transaction.value].map(quantity);
  const [gas, value] = common as [string, string];
  const nonce = quantity(transaction.nonce);
  const body = [gas, to ?? "0x", value, input];
  const signature = [transaction.v, r, s].map(quantity);
  if (Number(transaction.type) === 0) return encodeRlp([nonce, quantity(transaction.gasPrice), ...body, ...signature]);
  const accessList = (transaction.accessList ?? []).map(({ address, storageKeys }) => [address, storageKeys]);
  return `0x0${Number(transaction.type)}${encodeRlp([quantity(transaction.chainId), nonce, ...fields()]).slice(2)}`;

  function fields(): RlpStructuredDataish[] {
    const fees = [quantity(transaction.maxPriorityFeePerGas), quantity(transaction.maxFeePerGas)];
    switch (Number(transaction.type)) {
      case 1:
        return [quantity(transaction.gasPrice), ...body, accessList, ...signature];
      case 2:
        return [...fees, ...body, accessList, ...signature];
      case 4:
        return [...fees, ...body, accessList, authorizations(transaction), ...signature];
      default:
        throw new TypeError(`transactions of type ${transaction.type} cannot be recorded`);
    }
  }
}

function authorizations({ authorizationList = [] }: RpcTransaction): RlpStructuredDataish[] {
  return authorizationList.map(({ chainId, address, nonce, yParity, v, r, s }) => [
    quantity(chainId),
    address,
    ...[nonce, yParity ?? v, r, s].map(quantity),
  ]);
}

/** RLP wants no leading zero and nothing at all for zero. */
function quantity(hex: string | undefined): string {
  const value = BigInt(hex ?? 0);
  return value === 0n ? "0x" : toBeHex(value);
}
