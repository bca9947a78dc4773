// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20Memo} from "../interfaces/IERC20Memo.sol";
import {Sequenced} from "./Sequenced.sol";

/// @dev Transfers with a memo. The memo is in the event only: the contract never reads it.
abstract contract ERC20Memo is IERC20Memo, ERC20, Sequenced {
    /// @inheritdoc IERC20Memo
    function transferWithMemo(address to, uint256 amount, bytes32 memo) public virtual returns (bool) {
        address from = _msgSender();
        _transfer(from, to, amount);
        emit TransferWithMemo(from, to, amount, memo, _nextSequence());
        return true;
    }
}
