// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

/**
 * @title IERC20Memo
 * @notice Transfers that say what they are for, such as the number of an invoice, so that a payee can match a payment
 * without an address of its own for every payer.
 */
interface IERC20Memo {
    /// @notice `amount` went from `from` to `to`, marked `memo`. Emitted beside the ERC-20 `Transfer`.
    event TransferWithMemo(address indexed from, address indexed to, uint256 amount, bytes32 memo, uint256 sequence);

    /// @notice Transfers `amount` from the caller to `to`, as ERC-20 `transfer` does, and records `memo` in an event.
    /// @return Always true: whatever fails reverts.
    function transferWithMemo(address to, uint256 amount, bytes32 memo) external returns (bool);
}
