// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IERC20Mintable} from "../interfaces/IERC20Mintable.sol";
import {Sequenced} from "./Sequenced.sol";

/// @dev Minting by role with a limit per minter and period.
abstract contract ERC20Mintable is IERC20Mintable, ERC20, AccessControlDefaultAdminRules, Sequenced {
    using SafeCast for uint256;

    /// @dev One slot: a mint reads and writes its minter's limit at the price of one.
    struct Quota {
        uint104 limit;
        uint104 minted;
        uint48 period;
    }

    /// @notice May mint, within its limit.
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    /// @notice The largest batch: it fits a transaction of 2^24 gas (EIP-7825) even where every recipient is new.
    uint256 public constant MAX_MINT_BATCH = 200;

    uint256 private immutable _period;

    mapping(address minter => Quota) private _quotas;

    constructor(uint256 period) {
        if (period == 0) revert MintPeriodInvalid(period);
        _period = period;
    }

    /// @inheritdoc IERC20Mintable
    function mint(address to, uint256 amount, bytes32 reason) public virtual onlyRole(MINTER_ROLE) {
        address minter = _msgSender();
        _useMintLimit(minter, amount);
        _mintFor(minter, to, amount, reason);
    }

    /// @inheritdoc IERC20Mintable
    function mintBatch(
        address[] calldata recipients,
        uint256[] calldata amounts,
        bytes32 reason
    ) public virtual onlyRole(MINTER_ROLE) {
        uint256 length = recipients.length;
        if (length != amounts.length) revert MintBatchLengthMismatch(length, amounts.length);
        if (length == 0 || length > MAX_MINT_BATCH) revert MintBatchSizeInvalid(length, MAX_MINT_BATCH);

        uint256 total = 0;
        for (uint256 i = 0; i < length; ++i) total += amounts[i];

        address minter = _msgSender();
        _useMintLimit(minter, total);
        for (uint256 i = 0; i < length; ++i) _mintFor(minter, recipients[i], amounts[i], reason);
    }

    /// @inheritdoc IERC20Mintable
    function setMintLimit(address minter, uint256 limit) public virtual onlyRole(DEFAULT_ADMIN_ROLE) {
        _quotas[minter].limit = limit.toUint104();
        emit MintLimitChanged(minter, _msgSender(), limit, _nextSequence());
    }

    /// @inheritdoc IERC20Mintable
    function mintLimit(address minter) public view virtual returns (uint256) {
        return _quotas[minter].limit;
    }

    /// @inheritdoc IERC20Mintable
    function mintableBy(address minter) public view virtual returns (uint256) {
        Quota memory quota = _quotas[minter];
        // A limit may have been lowered below what was minted already.
        return Math.saturatingSub(quota.limit, _mintedInPeriod(quota));
    }

    /// @inheritdoc IERC20Mintable
    function mintPeriod() public view virtual returns (uint256) {
        return _period;
    }

    function _useMintLimit(address minter, uint256 amount) private {
        uint256 available = mintableBy(minter);
        if (amount > available) revert MintLimitExceeded(minter, amount, available);

        Quota storage quota = _quotas[minter];
        // What was minted fits already, and it grows no further than the limit, which fits.
        quota.minted = uint104(_mintedInPeriod(quota) + amount);
        quota.period = uint48(_currentPeriod());
    }

    function _mintFor(address minter, address to, uint256 amount, bytes32 reason) private {
        _mint(to, amount);
        emit Minted(minter, to, amount, reason, _nextSequence());
    }

    function _mintedInPeriod(Quota memory quota) private view returns (uint256) {
        if (quota.period != _currentPeriod()) return 0;
        return quota.minted;
    }

    function _currentPeriod() private view returns (uint256) {
        return block.timestamp / _period;
    }
}
