// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Pausable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Pausable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ERC20Memo} from "./extensions/ERC20Memo.sol";
import {ERC20Mineable} from "./extensions/ERC20Mineable.sol";
import {ERC20Mintable} from "./extensions/ERC20Mintable.sol";
import {ERC20Registrable} from "./extensions/ERC20Registrable.sol";
import {ERC20RolePausable} from "./extensions/ERC20RolePausable.sol";

/**
 * @title SluiceToken
 * @notice A capped, pausable ERC-20 token with registration, minting, mining, memos and permits.
 *
 * Each ability is an extension with an interface of its own; this contract only puts them together. It cannot be
 * upgraded: what is deployed is what stays. At deployment the administrator holds no role but its own.
 */
contract SluiceToken is ERC20RolePausable, ERC20Registrable, ERC20Mintable, ERC20Mineable, ERC20Memo, ERC20Permit {
    /// @notice What is fixed at deployment.
    /// @param name Of the token and of its EIP-712 domain.
    /// @param symbol Of the token.
    /// @param cap Of the total supply, in the smallest unit.
    /// @param admin The first default administrator.
    /// @param adminDelay The seconds between announcing another administrator and its acceptance.
    /// @param mintPeriod The seconds that a minter's limit is for.
    /// @param grants What registration grants.
    /// @param mining The rules of mining.
    struct Terms {
        string name;
        string symbol;
        uint256 cap;
        address admin;
        uint48 adminDelay;
        uint256 mintPeriod;
        Grants grants;
        MiningRules mining;
    }

    constructor(
        Terms memory terms
    )
        ERC20(terms.name, terms.symbol)
        ERC20Capped(terms.cap)
        ERC20Permit(terms.name)
        AccessControlDefaultAdminRules(terms.adminDelay, terms.admin)
        ERC20Registrable(terms.grants)
        ERC20Mintable(terms.mintPeriod)
        ERC20Mineable(terms.mining)
    {}

    /// @inheritdoc ERC20Permit
    function nonces(address owner) public view virtual override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    /// @inheritdoc ERC20
    function _approve(
        address owner,
        address spender,
        uint256 value,
        bool emitEvent
    ) internal virtual override(ERC20, ERC20RolePausable) {
        super._approve(owner, spender, value, emitEvent);
    }

    /// @inheritdoc ERC20
    function _update(
        address from,
        address to,
        uint256 value
    ) internal virtual override(ERC20, ERC20Capped, ERC20Pausable) {
        super._update(from, to, value);
    }
}
