// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Pausable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Pausable.sol";
import {IERC20RolePausable} from "../interfaces/IERC20RolePausable.sol";

/**
 * @dev Pausing by role. OpenZeppelin's {ERC20Pausable} gates `_update` alone; allowances are gated here as well, at the
 * one function that `approve` and `permit` share, so that an extension cannot forget it.
 */
abstract contract ERC20RolePausable is IERC20RolePausable, ERC20Pausable, AccessControlDefaultAdminRules {
    /// @notice May pause.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    /// @notice May unpause.
    bytes32 public constant UNPAUSER_ROLE = keccak256("UNPAUSER_ROLE");

    /// @inheritdoc IERC20RolePausable
    function pause() public virtual onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @inheritdoc IERC20RolePausable
    function unpause() public virtual onlyRole(UNPAUSER_ROLE) {
        _unpause();
    }

    /// @inheritdoc ERC20
    function _approve(
        address owner,
        address spender,
        uint256 value,
        bool emitEvent
    ) internal virtual override whenNotPaused {
        super._approve(owner, spender, value, emitEvent);
    }
}
